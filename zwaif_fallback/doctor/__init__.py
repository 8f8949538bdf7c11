"""Everything that can be wrong, each with its remedy: ``zwaif-fallback doctor``."""
