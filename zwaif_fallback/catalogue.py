"""The models offered: data and its sources in ``catalogue.json``, no code that loads anything.

``memory_gb`` is the figure to plan with: weights plus a conversation's cache (8,192 tokens at most) and the library's
overhead, in 10^9 bytes. ``weights_gb`` by quantization: ``none`` is as published, which is also what is downloaded;
``4bit`` (bitsandbytes NF4, with its scaling factors 0.53 bytes a parameter) is calculated, and only the linear layers
shrink. A GGUF file has its quantization in its name; the other files of its repository are listed beside it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from types import MappingProxyType

DEFAULT = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
CUSTOM = "Custom"
UNKNOWN_WINDOW = 2048
"""Tokens; what an unknown model is trusted with until its own configuration says otherwise."""


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
    context_window: int = 0
    """Tokens, prompt and reply together; 0 where it depends."""
    licence: str = ""
    gated: str = "no"
    """Whether Hugging Face asks for a login and accepted conditions: ``no``, ``yes`` or ``maybe``."""
    format: str = "safetensors"
    """``safetensors`` or ``GGUF``."""
    family: str = ""
    """Key of :data:`zwaif_fallback.prompts.FORMATS`."""
    memory_gb: float = 0.0
    memory_when: str = ""
    """What ``memory_gb`` holds for, for example ``4-bit``."""
    weights_gb: Mapping[str, float] = field(default_factory=dict)
    """By quantization: ``none`` is as published."""
    quality: str = ""
    use: str = ""
    note: str = ""
    """What may stand in the user's way."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where each fact is from, as URL."""

    @property
    def download_gb(self) -> float:
        """What a download brings."""
        return self.weights_gb.get("none", 0.0)


def _load() -> tuple[Offer, ...]:
    text = resources.files("zwaif_fallback").joinpath("catalogue.json").read_text(encoding="utf-8")
    return tuple(_offer(row) for row in json.loads(text)["offers"])


def _offer(row: Mapping[str, object]) -> Offer:
    """Mappings are made unchangeable: the offers are shared by everybody."""
    return Offer(**{key: MappingProxyType(value) if isinstance(value, dict) else value for key, value in row.items()})  # type: ignore[arg-type]


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


def window_of(model: str) -> int:
    """Context window in tokens by the model's name; :data:`UNKNOWN_WINDOW` when it is not in the list."""
    offer = find(model)
    return offer.context_window if offer and offer.context_window else UNKNOWN_WINDOW


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
        f"Quality: {offer.quality}. {offer.use}.",
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
