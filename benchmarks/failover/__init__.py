"""Ours beside LiteLLM's Router, LangChain's ``with_fallbacks`` and pydantic-ai's ``FallbackModel``."""
