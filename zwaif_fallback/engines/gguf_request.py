"""Translate our generation parameters into llama.cpp's request fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zwaif_fallback.engines.sampling import advice_of, decide
from zwaif_hooks.messages import Sampling

_ORDER = ["penalties", "top_k", "top_p", "min_p", "temperature"]
"""The same order as in the transformers engine, so that equal numbers mean the same."""
_ADVICE = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_p": "top_p",
    "general.sampling.top_k": "top_k",
    "general.sampling.min_p": "min_p",
}
"""Keys in a GGUF file and our names for them."""
_RANDOM_SEED = -1
_SEEDS = 2**32 - 1
"""llama.cpp treats the largest 32-bit number as "random"."""


def sampling_of(sampling: Sampling, window: int) -> dict[str, Any]:
    """Return llama.cpp's fields for our sampling.

    Two things differ from the transformers engine: one range applies to all penalties, and the frequency and presence
    penalties count the prompt's tokens too.
    """
    choice = decide(sampling)
    return {
        "samplers": _ORDER,
        "temperature": max(0.0, choice.temperature),
        "top_k": max(0, choice.top_k),
        "top_p": choice.top_p if 0.0 < choice.top_p < 1.0 else 1.0,
        "min_p": choice.min_p if 0.0 < choice.min_p <= 1.0 else 0.0,
        "repeat_penalty": choice.repetition_penalty or 1.0,
        "repeat_last_n": choice.repetition_range if choice.repetition_range > 0 else window,
        "frequency_penalty": choice.frequency_penalty,
        "presence_penalty": choice.presence_penalty,
        "seed": _RANDOM_SEED if choice.seed is None else choice.seed % _SEEDS,
    }


def advice_in(metadata: Mapping[str, object]) -> Sampling:
    """Return the sampling that a GGUF file recommends, if it does."""
    return advice_of({ours: metadata.get(key) for key, ours in _ADVICE.items()})


def grammar_for(torn: str) -> str:
    """Return a grammar for texts that begin with ``torn``; a space after a sentence may also be all that follows."""
    spelt = "".join(rf"\U{ord(letter):08X}" for letter in torn)
    begin = f'"{spelt}" .*'
    return f"root ::= ({begin})?" if torn.isspace() else f"root ::= {begin}"


def clean(text: str) -> str:
    """Replace lone surrogates (half an emoji, cut by some program), which cannot be encoded."""
    return text.encode("utf-8", "replace").decode("utf-8")
