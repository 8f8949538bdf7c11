from benchmarks.failover.run import main

raise SystemExit(main())
