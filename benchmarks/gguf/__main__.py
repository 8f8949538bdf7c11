from benchmarks.gguf.run import main

main()
