"""The models offered in the Settings tab: data and its sources, no code that loads anything.

``memory_gb`` is the figure to plan with: weights plus a short conversation's cache and the library's overhead, in
10^9 bytes. ``weights_gb`` is calculated: 2 bytes a parameter as published; for 4-bit (bitsandbytes NF4, with its
scaling factors 0.53 bytes) only the linear layers shrink, embedding and output layer stay at 2 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

DEFAULT = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
CUSTOM = "Custom"
UNKNOWN_WINDOW = 2048
"""Tokens; what an unknown model is trusted with until its own configuration says otherwise."""


@dataclass(frozen=True)
class Offer:
    """One choice of the model list."""

    name: str
    """Hub id, or ``Custom``."""
    title: str
    parameters: float = 0.0
    """In 10^9; 0 where it depends."""
    context_window: int = 0
    """Tokens, prompt and reply together; 0 where it depends."""
    licence: str = ""
    family: str = ""
    """Key of :data:`zwaif_fallback.prompts.FORMATS`."""
    memory_gb: float = 0.0
    memory_when: str = ""
    """What ``memory_gb`` holds for, for example ``4-bit``."""
    weights_gb: Mapping[str, float] = field(default_factory=dict)
    """By quantization as in ``LoadOptions``: ``none`` and ``4bit``."""
    quality: str = ""
    use: str = ""
    note: str = ""
    """What may stand in the user's way."""


def _weights(published: float, four_bit: float) -> Mapping[str, float]:
    return MappingProxyType({"none": published, "4bit": four_bit})


OFFERS: tuple[Offer, ...] = (
    # Model page on the hub: licence, model type llama; its config.json: max_position_embeddings 2048,
    # vocabulary 32,000 of 2,048, 22 layers. Trained with the zephyr chat format.
    Offer(
        name=DEFAULT,
        title="TinyLlama 1.1B Chat",
        parameters=1.1,
        context_window=2048,
        licence="Apache-2.0",
        family="tinyllama",
        memory_gb=1.1,
        memory_when="4-bit",
        weights_gb=_weights(2.2, 0.8),
        quality="Basic",
        use="Ultra-light backup; runs on nearly anything",
    ),
    # config.json as re-published by many fine-tunes of it: PhiForCausalLM, max_position_embeddings 2048, vocabulary
    # 51,200 of 2,560, one token for begin and end; no chat template. Licence: model page.
    Offer(
        name="microsoft/phi-2",
        title="Phi-2",
        parameters=2.7,
        context_window=2048,
        licence="MIT",
        family="phi",
        memory_gb=2.7,
        memory_when="4-bit",
        weights_gb=_weights(5.6, 1.9),
        quality="Good",
        use="Best quality for its size",
    ),
    # Model page: Apache-2.0; config.json: max_position_embeddings 32768, no sliding window. Public bug reports from
    # April to July 2024 show the hub asking for a login and accepted conditions; whether it still does is unknown here.
    Offer(
        name="mistralai/Mistral-7B-Instruct-v0.2",
        title="Mistral 7B Instruct",
        parameters=7.2,
        context_window=32768,
        licence="Apache-2.0",
        family="mistral",
        memory_gb=5.0,
        memory_when="4-bit",
        weights_gb=_weights(14.5, 4.2),
        quality="Excellent",
        use="High quality replies with a strong graphics card",
        note="Hugging Face may ask you to log in and accept its conditions first: open its page, then run "
        "'huggingface-cli login'",
    ),
    # Model page: Apache-2.0, a fine-tune of Mistral-7B-v0.1, prompt format with ###. Trained with 8,192 tokens (from
    # memory of the page); its config.json says 32768, which was never trained, so the smaller one is used.
    Offer(
        name="Intel/neural-chat-7b-v3-1",
        title="Neural-Chat 7B",
        parameters=7.2,
        context_window=8192,
        licence="Apache-2.0",
        family="neural-chat",
        memory_gb=5.0,
        memory_when="4-bit",
        weights_gb=_weights(14.5, 4.2),
        quality="Excellent",
        use="Alternative to Mistral, no login needed",
    ),
    Offer(
        name=CUSTOM,
        title="Custom",
        quality="Depends on the model",
        use="Any model on Hugging Face, or a folder on this computer, with safetensors weights",
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
    """The offer of that name or title, whatever its case; ``None`` for anything else."""
    wanted = model.strip().casefold()
    return next((offer for offer in OFFERS if wanted in (offer.name.casefold(), offer.title.casefold())), None)


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
    memory = (
        f"about {offer.memory_gb:g} GB in {offer.memory_when}, {offer.weights_gb['none']:g} GB without quantization"
    )
    lines = [
        f"{offer.title} ({offer.name})",
        f"Size: {offer.parameters:g}B parameters. Memory: {memory}.",
        f"Context window: {offer.context_window:,} tokens. Licence: {offer.licence}.",
        f"Quality: {offer.quality}. {offer.use}.",
    ]
    return "\n".join([*lines, f"Note: {offer.note}."] if offer.note else lines)


def _describe_custom(model: str) -> str:
    if not model.strip():
        return "Custom: type the name of a model on Hugging Face (owner/name), or the path of a folder with its files."
    family = family_of(model)
    known = f"Prompt format if it brings none of its own: {family}." if family else "It should bring its chat template."
    return f"{model} (custom)\nSize, memory and licence: see the model's own page.\n{known}"
