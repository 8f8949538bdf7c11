"""The models offered: data and its sources in ``catalogue.json``, no code that loads anything.

``memory_gb`` is the figure to plan with: weights plus a conversation's cache (8,192 tokens at most) and the library's
overhead, in 10^9 bytes. ``weights_gb`` by quantization: ``none`` is as published, which is also what is downloaded;
``4bit`` (bitsandbytes NF4, with its scaling factors 0.53 bytes a parameter) is calculated, and only the linear layers
shrink. A GGUF file has its quantization in its name; the other files of its repository are listed beside it.

Offers of one quality stand in the order of preference, the best last: quality is from what their makers and others
published (``sources`` says where), in the words of the four models that this project began with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType

DEFAULT = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
CUSTOM = "Custom"


@dataclass(frozen=True)
class Offer:
    """One choice of the model list."""

    name: str
    """Hub id, ``owner/name:file.gguf``, or ``Custom``."""
    title: str
    short: str = ""
    """What a person types: ``qwen2.5-1.5b``; accepted wherever a model is named."""
    parameters: float = 0.0
    """In 10^9; 0 where it depends."""
    effective: float = 0.0
    """In 10^9, those that each token is computed with, where they are fewer; 0 where they are all."""
    context_window: int = 0
    """Tokens, prompt and reply together; 0 where it depends."""
    licence: str = ""
    gated: str = "no"
    """Whether Hugging Face asks for a login and accepted conditions: ``no``, ``yes`` or ``maybe``."""
    format: str = "safetensors"
    """``safetensors`` or ``GGUF``."""
    family: str = ""
    """Key of :data:`zwaif_fallback.prompt.formats.FORMATS`; empty for a model that brings its own template."""
    architecture: str = ""
    """Of a GGUF file, as its header has it; empty where none is offered."""
    memory_gb: float = 0.0
    memory_when: str = ""
    """What ``memory_gb`` holds for, for example ``4-bit``."""
    weights_gb: Mapping[str, float] = field(default_factory=dict)
    """By quantization: ``none`` is as published."""
    quality: str = ""
    use: str = ""
    languages: str = ""
    """How many, or which."""
    note: str = ""
    """What may stand in the user's way."""
    sampling: Mapping[str, float] = field(default_factory=dict)
    """What its maker recommends for talk without thoughts, by the names of :class:`zwaif_hooks.messages.Sampling`;
    empty where nothing was published."""
    covers: tuple[str, ...] = ()
    """Beginnings of the names of all models that the same is recommended for."""
    thinks: str = "never"
    """Whether it writes thoughts before a reply: ``never``, ``when asked`` or ``by default``."""
    unthinking: str = ""
    """What keeps it from thinking, as its template calls it: ``enable_thinking=false``."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each fact is from, as URL."""

    @property
    def download_gb(self) -> float:
        """What a download brings."""
        return self.weights_gb.get("none", 0.0)


def _load() -> tuple[Offer, ...]:
    text = resources.files("zwaif_fallback.models").joinpath("catalogue.json").read_text(encoding="utf-8")
    return tuple(_offer(row) for row in json.loads(text)["offers"])


def _offer(row: Mapping[str, object]) -> Offer:
    return Offer(**{key: _unchangeable(value) for key, value in row.items()})  # type: ignore[arg-type]


def _unchangeable(value: object) -> object:
    """The offers are shared by everybody."""
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

# First match wins: neural-chat models are Mistrals by architecture, so their name is looked for before it.
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
    """Names for the model list, the default first, ``Custom`` last."""
    return [offer.name for offer in OFFERS]


def find(model: str) -> Offer | None:
    """The offer of that name, short name or title, whatever its case; ``None`` for anything else."""
    wanted = model.strip().casefold()
    names = ((offer, (offer.name, offer.short or offer.name, offer.title)) for offer in OFFERS)
    return next((offer for offer, known in names if wanted in map(str.casefold, known)), None)


def family_of(model: str) -> str:
    """Prompt family by the model's name or folder, empty when unknown."""
    name = model.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1].casefold()
    return next((family for part, family in _FAMILIES if part in name), "")


def published_sampling(*names: str) -> Mapping[str, float]:
    """What the maker of a model recommends, by the model's names (its file's, and those its header has); or nothing.

    The most exact name decides: ``Qwen3.5-2B`` has other numbers than the other Qwen3.5. Case and separators do not
    count, so that Ollama's ``gemma3:1b`` is ``gemma-3-1b`` too.
    """
    covering = [
        (len(start), offer.sampling)
        for offer in OFFERS
        for start in offer.covers
        if any(re.search(_pattern(start), name, re.IGNORECASE) for name in names)
    ]
    return max(covering, key=lambda one: one[0], default=(0, {}))[1]


def _pattern(start: str) -> str:
    """``gemma-3`` as it may be written: not in ``gemma-3n`` or ``codegemma-3``."""
    return rf"(?<![a-z0-9]){'[-_: ]?'.join(map(re.escape, start.split('-')))}(?![a-z0-9])"


def describe(model: str) -> str:
    """A few lines about a model for the Settings tab, whether it is in the list or not."""
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
    known = f"Prompt format if it brings none of its own: {family}." if family else "It should bring its chat template."
    return f"{model} (custom)\nSize, memory and licence: see the model's own page.\n{known}"
