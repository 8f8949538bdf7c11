from benchmarks.fidelity.run import main

raise SystemExit(main())
