"""How a model is shown to the user: a readable name, and one word for its quality."""

from __future__ import annotations

import re

from zwaif_fallback.models import catalogue
from zwaif_fallback.models.gguf_names import quantization_in, stem_of
from zwaif_fallback.models.name_syntax import file_in_repository, program_of

QUALITY_FROM = ((6e9, "Excellent"), (3e9, "Very good"), (1.3e9, "Good"), (1, "Basic"))
"""Least number of parameters for each quality word of the catalogue."""


def readable(name: str) -> str:
    """Turn ``lmstudio:publisher/repo/SmolLM2-135M-Instruct.Q4_1.gguf`` into ``SmolLM2 135M Instruct``.

    An offer keeps its title, and an Ollama model its name there. Never shows a folder of this computer.
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
    """Return one word (``Good``) for a number of parameters; empty if it is unknown."""
    return next((word for least, word in QUALITY_FROM if parameters >= least), "")
