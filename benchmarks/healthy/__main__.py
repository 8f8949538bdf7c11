from benchmarks.healthy.run import main

main()
