"""Model files on this computer: found, read without loading, measured against the memory that is free."""
