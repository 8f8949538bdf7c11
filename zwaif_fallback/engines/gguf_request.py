"""Our wishes in llama.cpp's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zwaif_fallback.engines.sampling import advice_of, decide
from zwaif_hooks.messages import Sampling

_ORDER = ["penalties", "top_k", "top_p", "min_p", "temperature"]
"""As the transformers engine does it, so that both mean the same by the same numbers."""
_ADVICE = {
    "general.sampling.temp": "temperature",
    "general.sampling.top_p": "top_p",
    "general.sampling.top_k": "top_k",
    "general.sampling.min_p": "min_p",
}
"""Keys of a GGUF file → names of ours."""
_RANDOM_SEED = -1
_SEEDS = 2**32 - 1
"""llama.cpp takes the largest 32-bit number for "any"."""


def sampling_of(sampling: Sampling, window: int) -> dict[str, Any]:
    """Our sampling in llama.cpp's words.

    Two things differ from the transformers engine: one range serves all penalties, and the frequency and presence
    penalties count the prompt's words too.
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
    """How the model's makers would pick words, where its file says so."""
    return advice_of({ours: metadata.get(key) for key, ours in _ADVICE.items()})


def grammar_for(torn: str) -> str:
    """A grammar of texts that begin with ``torn``; behind a whole sentence and its space, the end fits too."""
    spelt = "".join(rf"\U{ord(letter):08X}" for letter in torn)
    begin = f'"{spelt}" .*'
    return f"root ::= ({begin})?" if torn.isspace() else f"root ::= {begin}"


def clean(text: str) -> str:
    """A lone surrogate (half of an emoji, cut by some program) cannot be encoded; the rest of the text can."""
    return text.encode("utf-8", "replace").decode("utf-8")
