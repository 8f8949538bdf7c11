"""How much of a prompt is read again from turn to turn, and how long the first token takes."""
