"""How a model is shown to the user: a readable name, and one word for its quality."""

from __future__ import annotations

import re

from zwaif_fallback.models import catalogue
from zwaif_fallback.models.gguf_names import quantization_in, stem_of
from zwaif_fallback.models.name_syntax import file_in_repository, program_of

QUALITY_FROM = ((6e9, "Excellent"), (3e9, "Very good"), (1.3e9, "Good"), (1, "Basic"))
"""Parameters from which a model deserves the word that the catalogue gives its offers."""


def readable(name: str) -> str:
    """``SmolLM2 135M Instruct`` of ``lmstudio:publisher/repo/SmolLM2-135M-Instruct.Q4_1.gguf``.

    An offer has its title, a model of Ollama's the name it has there. Never a folder of this machine.
    """
    offer = catalogue.find(name)
    if offer is not None:
        return offer.title
    program, named = program_of(name)
    if program == "ollama":
        return named
    last = re.split(r"[\\/]", (file_in_repository(name)[1] or named or name).rstrip("\\/"))[-1]
    stem = stem_of(last)
    form = quantization_in(stem)
    bare = re.sub(rf"[-._]{re.escape(form)}\b", "", stem, flags=re.IGNORECASE) if form else stem
    bare = re.sub(r"[-._]gguf$", "", bare, flags=re.IGNORECASE)
    return " ".join(re.split(r"[-_\s]+", bare)).strip() or last


def quality(parameters: float) -> str:
    """``Good``; empty where the size is unknown."""
    return next((word for least, word in QUALITY_FROM if parameters >= least), "")
