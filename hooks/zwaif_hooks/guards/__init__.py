"""One guard for each client library through which Z-Waif reaches its LLM server.

``install(module, runtime)`` replaces the library's entry point after checking its signature; calling it twice does no
harm. From then on chat requests are guarded, and Z-Waif gets an object of the type the library would have returned.
"""
