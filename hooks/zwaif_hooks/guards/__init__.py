"""One guard for each client library through which Z-Waif reaches its LLM server. One contract:

``install(module, runtime)`` swaps the library's entry point, after checking that it is what we know; it may be called
twice. From then on a chat request is watched, and the object handed to Z-Waif is the one the library would have given.
"""
