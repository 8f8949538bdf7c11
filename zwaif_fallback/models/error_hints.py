"""Next steps that several error messages end with."""

from __future__ import annotations

from zwaif_fallback.models.catalogue import DEFAULT

CHECK_SETTING = f"Check that API_FALLBACK_MODEL is set correctly; the default is {DEFAULT}."
SMALLER = "Close other programs, or choose a smaller model: zwaif-fallback models says which fit."
