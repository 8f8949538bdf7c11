import sys

from benchmarks.listener.run import main

sys.exit(main())
