"""The fallback plugin: answers from a local model when Z-Waif's LLM server cannot.

Kept empty: see :mod:`zwaif_fallback.plugin` for the story on one page.
"""
