"""The GGUF engine behind its worker, beside the bare binding."""
