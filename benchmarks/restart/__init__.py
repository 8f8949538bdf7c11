"""How soon a killed LLM server is used again if it is started again by API_FALLBACK_RESTART."""
