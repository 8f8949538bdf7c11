"""The models we recommend. The data and its sources are in ``catalogue.json``; nothing here loads a model.

``memory_gb`` is planned with :mod:`.memory`, not measured, in 10^9 bytes: weights, the cache of a conversation (8,192
tokens at most) and the program; in 4-bit on a card, CUDA's context included. ``weights_gb`` is by quantization:
``none`` is as published and as downloaded; ``4bit`` (bitsandbytes NF4, 0.52 bytes per parameter including scaling
factors) is calculated, and only linear layers shrink. A GGUF file has its quantization in its name.

Models of the same quality are listed in order of preference, the best last. Quality comes from what their makers and
others published (see ``sources``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType

DEFAULT = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
CUSTOM = "Custom"


@dataclass(frozen=True)
class Offer:
    """One entry of the model list."""

    name: str
    """Hub id, ``owner/name:file.gguf``, or ``Custom``."""
    title: str
    short: str = ""
    """What a user types: ``qwen2.5-1.5b``; accepted wherever a model is named."""
    parameters: float = 0.0
    """In 10^9; 0 if unknown."""
    effective: float = 0.0
    """Parameters used per token, in 10^9, if fewer than ``parameters`` (mixture of experts); else 0."""
    context_window: int = 0
    """Tokens, prompt and reply together; 0 if unknown."""
    licence: str = ""
    gated: str = "no"
    """Whether Hugging Face requires a login and accepted conditions: ``no``, ``yes`` or ``maybe``."""
    format: str = "safetensors"
    """``safetensors`` or ``GGUF``."""
    family: str = ""
    """Key of :data:`zwaif_fallback.prompt.formats.FORMATS`; empty for a model with its own template."""
    architecture: str = ""
    """Architecture in a GGUF file's header; empty for safetensors models."""
    memory_gb: float = 0.0
    memory_when: str = ""
    """What ``memory_gb`` applies to, for example ``4-bit``."""
    weights_gb: Mapping[str, float] = field(default_factory=dict)
    """By quantization; ``none`` is as published."""
    quality: str = ""
    use: str = ""
    languages: str = ""
    """Number of languages, or their names."""
    note: str = ""
    """What may get in the user's way."""
    sampling: Mapping[str, float] = field(default_factory=dict)
    """The maker's recommendation for chat without thinking, by the field names of
    :class:`zwaif_hooks.messages.Sampling`; empty if nothing was published."""
    covers: tuple[str, ...] = ()
    """Name prefixes of all models that this sampling is recommended for."""
    thinks: str = "never"
    """Whether it thinks before a reply: ``never``, ``when asked`` or ``by default``."""
    unthinking: str = ""
    """How its template turns thinking off: ``enable_thinking=false``."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """URL of the source of each fact."""

    @property
    def download_gb(self) -> float:
        """Size of the download."""
        return self.weights_gb.get("none", 0.0)


def _load() -> tuple[Offer, ...]:
    text = resources.files("zwaif_fallback.models").joinpath("catalogue.json").read_text(encoding="utf-8")
    return tuple(_offer(row) for row in json.loads(text)["offers"])


def _offer(row: Mapping[str, object]) -> Offer:
    return Offer(**{key: _unchangeable(value) for key, value in row.items()})  # type: ignore[arg-type]


def _unchangeable(value: object) -> object:
    """Make it read-only, as all callers share the offers."""
    return MappingProxyType(value) if isinstance(value, dict) else tuple(value) if isinstance(value, list) else value


OFFERS: tuple[Offer, ...] = (
    *_load(),
    Offer(
        name=CUSTOM,
        title="Custom",
        quality="Depends on the model",
        use="Any model on Hugging Face, or a file or folder on this computer: safetensors or GGUF",
    ),
)

# The first match wins. neural-chat models are Mistrals by architecture, so their name is checked first.
_FAMILIES = (
    ("tinyllama", "tinyllama"),
    ("zephyr", "tinyllama"),
    ("neural-chat", "neural-chat"),
    ("neural_chat", "neural-chat"),
    ("phi-2", "phi"),
    ("phi_2", "phi"),
    ("phi-1", "phi"),
    ("mistral", "mistral"),
    ("mixtral", "mistral"),
)


def choices() -> list[str]:
    """Return the names for the model list, the default first, ``Custom`` last."""
    return [offer.name for offer in OFFERS]


def find(model: str) -> Offer | None:
    """Return the offer with this name, short name or title, ignoring case; ``None`` if there is none."""
    wanted = model.strip().casefold()
    names = ((offer, (offer.name, offer.short or offer.name, offer.title)) for offer in OFFERS)
    return next((offer for offer, known in names if wanted in map(str.casefold, known)), None)


_FAMILY_OF_MARK = {"<|im_start|>": "chatml", "<|start_header_id|>": "llama-3", "<start_of_turn>": "gemma",
                   "[INST]": "mistral"}  # fmt: skip
"""What opens a turn in the formats that can be told by it."""
_FAMILY_OF_ARCHITECTURE = {"phi": "phi", "phi2": "phi", "mistral": "mistral"}


def prompt_family(names: Iterable[str], tokens: Collection[str], template: str, architecture: str) -> str:
    """Return the prompt family of a model; empty if it is none that we know.

    Args:
        names: the model's name, folder, and title, as far as known.
        tokens: the tokenizer's control tokens. A model with those of a format was trained on it, whatever its name is.
        template: the tokenizer's chat template.
        architecture: the kind of network.
    """
    found = [family_by_mark(tokens), *map(family_of, names), family_by_mark(template)]
    return next(filter(None, found), _FAMILY_OF_ARCHITECTURE.get(architecture, ""))


def family_by_mark(marks: Collection[str]) -> str:
    """Return the prompt family that some tokens or a template belong to; empty if unknown."""
    return next((family for mark, family in _FAMILY_OF_MARK.items() if mark in marks), "")


def family_of(model: str) -> str:
    """Return the prompt family for a model's name or folder; empty if unknown."""
    name = model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].casefold()
    return next((family for part, family in _FAMILIES if part in name), "")


def published_sampling(*names: str) -> Mapping[str, float]:
    """Return the sampling that a model's maker recommends, by any of its names (of the file or in its header).

    The longest matching name wins: ``Qwen3.5-2B`` differs from the other Qwen3.5 models. Case and separators are
    ignored, so Ollama's ``gemma3:1b`` matches ``gemma-3-1b``. Empty if nothing was published.
    """
    covering = [
        (len(start), offer.sampling)
        for offer in OFFERS
        for start in offer.covers
        if any(re.search(_pattern(start), name, re.IGNORECASE) for name in names)
    ]
    return max(covering, key=lambda one: one[0], default=(0, {}))[1]


def _pattern(start: str) -> str:
    """Return a pattern for ``gemma-3`` in any spelling, but not within ``gemma-3n`` or ``codegemma-3``."""
    return rf"(?<![a-z0-9]){'[-_: ]?'.join(map(re.escape, start.split('-')))}(?![a-z0-9])"


def describe(model: str) -> str:
    """Return a few lines about a model for the Settings tab, whether it is in the list or not."""
    offer = find(model)
    if offer is None or offer.name == CUSTOM:
        return _describe_custom(model if offer is None else "")
    memory = f"about {offer.memory_gb:g} GB in {offer.memory_when}. Download: {offer.download_gb:g} GB ({offer.format})"
    lines = [
        f"{offer.title} ({offer.name})",
        f"Size: {offer.parameters:g}B parameters. Memory: {memory}.",
        f"Context window: {offer.context_window:,} tokens. Licence: {offer.licence}.",
        f"Quality: {offer.quality}. {offer.use}." + (f" Languages: {offer.languages}." if offer.languages else ""),
    ]
    return "\n".join([*lines, f"Note: {offer.note}."] if offer.note else lines)


def _describe_custom(model: str) -> str:
    if not model.strip():
        return (
            "Custom: type the name of a model on Hugging Face (owner/name or owner/name:file.gguf), or the path of a "
            "file or folder on this computer."
        )
    family = family_of(model)
    known = f"Prompt format if it has none of its own: {family}." if family else "It should come with a chat template."
    return f"{model} (custom)\nSize, memory and licence: see the model's own page.\n{known}"
