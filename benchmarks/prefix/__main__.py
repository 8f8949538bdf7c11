from benchmarks.prefix.run import main

raise SystemExit(main())
