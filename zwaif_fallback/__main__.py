"""``python -m zwaif_fallback``, for where the command ``zwaif-fallback`` is not on the path."""

import sys

from zwaif_fallback.cli.main import main

sys.exit(main())
