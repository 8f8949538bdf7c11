"""Starts Z-Waif's own LLM server again when its process is gone (``API_FALLBACK_RESTART``)."""
