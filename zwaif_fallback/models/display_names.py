"""What a person reads of a model: its name without the paper around it, how good it is, and how quick."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zwaif_fallback.choosing.ranking import ON_CPU, ON_GPU, PARTLY, TOO_BIG
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.gguf_facts import quantization_in, stem_of
from zwaif_fallback.models.name_syntax import file_in_repository, program_of

if TYPE_CHECKING:
    from zwaif_fallback.choosing.ranking import Fit
    from zwaif_fallback.models.measurements import Measurement

QUALITY_FROM = ((6e9, "Excellent"), (3e9, "Very good"), (1.3e9, "Good"), (1, "Basic"))
"""Parameters from which a model deserves the word that the catalogue gives its offers."""
_PLACES = {
    ON_GPU: "on the graphics card",
    PARTLY: "partly on the graphics card",
    TOO_BIG: "too big for the memory that is free now",
}


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


def pace(how: Fit, measurement: Measurement | None) -> str:
    """``31 tokens/s measured here``; where it was not, ``about 29 tokens/s``, or where it would run."""
    if measurement is not None and measurement.tokens_per_second:
        return f"{measurement.tokens_per_second:.0f} tokens/s measured here"
    if how.verdict == ON_CPU:
        return how.text.partition(", ")[2]
    return _PLACES.get(how.verdict, how.verdict)
