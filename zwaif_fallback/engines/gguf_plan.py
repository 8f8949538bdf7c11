"""Plan how to load a GGUF file: check it before anything is allocated, and choose window and layers by what fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import ModelError, ModelTooBig
from zwaif_fallback.models.card_plans import card_plans, room_on
from zwaif_fallback.models.error_hints import SMALLER
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.memory import GGUF_PROGRAM, gguf_cache, planned_window
from zwaif_fallback.models.model_files import gguf_in, read_facts

LEAST_WINDOW = 512
"""Tokens; less leaves no room for a persona and a reply."""
ALL_LAYERS = 999
_STEP = 256
"""llama.cpp rounds windows to multiples of this many tokens."""


@dataclass(frozen=True)
class Card:
    """A graphics device that the installed llama.cpp can use."""

    name: str
    free: int
    """Bytes."""


@dataclass(frozen=True)
class GgufPlan:
    """How to load one file."""

    path: Path
    facts: ModelFacts
    window: int
    """Tokens, prompt and reply together."""
    gpu_layers: int
    """0: everything on the CPU; :data:`ALL_LAYERS`: everything on the card."""
    memory_bytes: int
    """Bytes of weights and KV cache."""
    notes: tuple[str, ...] = ()


def make_plan(options: LoadOptions, cards: Sequence[Card], ram_free: int) -> GgufPlan:
    """Choose layers and window by the memory that is free; each fallback step adds a line to the notes.

    Args:
        cards: graphics devices that the installed llama.cpp can use.
        ram_free: bytes available to programs.

    Raises:
        ModelTooBig: not even the smallest window fits.
        ModelError: the file cannot be used.
    """
    path = Path(options.model)
    facts = read_facts(path)
    wish = planned_window(facts, options.context_window)
    notes: list[str] = []
    layers = _layers_on_cards(options, facts, cards, wish, notes)
    share = min(1.0, layers / (facts.shape.layers + 1)) if layers else 0.0
    window = wish
    if share < 1.0:
        window = _window_in_ram(options, facts, wish, ram_free, 1.0 - share, notes)
    memory = facts.weights + gguf_cache(facts.shape, window)
    return GgufPlan(path, facts, window, layers, memory, tuple(notes))


def gguf_fits(options: LoadOptions, ram_free: int) -> bool:
    """Return whether a model fits into ``ram_free`` bytes; True for an unusable file, whose own error says more."""
    try:
        place = gguf_in(Path(options.model))
        make_plan(replace(options, model=str(place or options.model), device="cpu"), [], ram_free)
    except ModelTooBig:
        return False
    except ModelError:
        return True
    return True


def _layers_on_cards(
    options: LoadOptions, facts: ModelFacts, cards: Sequence[Card], window: int, notes: list[str]
) -> int:
    if options.device == "cpu":
        return 0
    if not cards:
        if options.device != "auto":
            notes.append(
                f"API_FALLBACK_DEVICE is {options.device}, but the installed xllamacpp computes on the processor only; "
                "docs/engines.md tells how to get it for a graphics card."
            )
        return 0
    plans = card_plans(facts, [card.free for card in cards], window)
    share = plans[0].share if plans else 0.0
    if share == 1.0:
        return ALL_LAYERS
    blocks = facts.shape.layers or 1
    # The embedding table stays on the processor; the output layer counts as one more.
    layers = min(blocks, int(share * (blocks + 1)))
    room = sum(room_on(card.free, facts) for card in cards)
    names = " and ".join(card.name for card in cards)
    notes.append(
        f"{layers} of {blocks} layers run on {names}: more do not fit into its free memory."
        if layers
        else f"The model runs on the processor: {names} has {room / 1e9:.1f} GB free for it."
    )
    return layers


def _window_in_ram(
    options: LoadOptions, facts: ModelFacts, wish: int, ram_free: int, share: float, notes: list[str]
) -> int:
    """Return the largest window up to ``wish`` whose cache fits beside ``share`` of the model."""
    longest, shorter = (gguf_cache(facts.shape, tokens) * share for tokens in (wish, wish // 2))
    room = ram_free - GGUF_PROGRAM - facts.weights * share
    if room >= longest:
        return wish
    each = (longest - shorter) / (wish - wish // 2)
    room -= longest - each * wish
    window = int(room / max(each, 1)) // _STEP * _STEP if room > 0 else 0
    if window < min(LEAST_WINDOW, wish):
        needed = facts.weights * share + GGUF_PROGRAM + longest - each * max(0, wish - LEAST_WINDOW)
        raise ModelTooBig(
            f"{options.model} needs {needed / 1e9:.1f} GB of memory, {ram_free / 1e9:.1f} GB are free. {SMALLER}"
        )
    notes.append(f"The context window is {window} tokens instead of {wish}: more does not fit into the free memory.")
    return window
