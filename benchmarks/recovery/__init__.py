"""How soon the primary is trusted again after it really is back, as a distribution, on a real server."""
