"""The checks of ``zwaif-fallback doctor``, each with a way to fix what it finds."""
