"""Worker processes, from both sides: starting them, the pipes between, and ending them with Z-Waif."""
