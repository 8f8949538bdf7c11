"""The ways to use a graphics card, best first, by the memory that is free on it now.

All of the model in 16 bits; all of it in 4 bits; a part of it, with the rest in RAM. If none is possible, the choice is
between a smaller model on this computer (:mod:`zwaif_fallback.choosing.ranking`) and the processor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zwaif_fallback.models.facts import GGUF, SAFETENSORS, ModelFacts
from zwaif_fallback.models.memory import Need, Plan, need, usable

SHARE_IN_16_BITS = 0.5
"""A model that 4 bits can shrink is loaded in 16 only if it takes no more than this of the room: a server that comes
back needs its memory again."""
WORTH_SPLITTING = {GGUF: 0.3, SAFETENSORS: 0.75}
"""Least share of a model on the card for a split to be faster than the processor alone. llama.cpp computes the other
layers on the processor; accelerate copies them to the card for every token, at half the speed of reading them."""


@dataclass(frozen=True)
class CardPlan:
    """One way to use the cards."""

    plan: Plan
    need: Need
    share: float = 1.0
    """Share of weights and cache on the cards; the rest is in RAM."""
    split: bool = False
    """Whether it is on several cards, or partly in RAM."""

    @property
    def size(self) -> int:
        """Bytes of weights and cache, wherever they are."""
        return self.need.weights + self.need.cache

    @property
    def in_ram(self) -> int:
        """Bytes of weights and cache that are not on the cards."""
        return self.size - int(self.size * self.share)


def room_on(card_free: int, facts: ModelFacts) -> int:
    """Return the bytes of a card for weights and cache: what is free, less the program's part and the desktop's."""
    spent = need(facts, Plan("cuda"), 0)
    return max(0, usable(card_free) - spent.program - spent.working)


def card_plans(
    facts: ModelFacts,
    cards_free: Sequence[int],
    window: int,
    *,
    quantization: str = "auto",
    four_bit: bool = False,
) -> list[CardPlan]:
    """Return the plans that fit, best first; empty if the processor is better.

    Args:
        cards_free: free bytes of each card. A GGUF file uses all of them, transformers one, or all for a part.
        quantization: as in the settings.
        four_bit: whether transformers can load this model in 4 bits.
    """
    rooms = [room_on(free, facts) for free in cards_free]
    together = sum(rooms)
    largest = together if facts.format == GGUF else max(rooms, default=0)
    plain = CardPlan(Plan("cuda"), need(facts, Plan("cuda"), window))
    small = CardPlan(Plan("cuda", bits=4), need(facts, Plan("cuda", bits=4), window))
    steps = [(plain, largest)]
    if four_bit and quantization != "none" and facts.format != GGUF:
        cautious = [(plain, int(largest * SHARE_IN_16_BITS))] if quantization == "auto" else []
        steps = [*cautious, (small, largest), *steps]
    found = [step for step, room in steps if step.size <= room]
    share = together / max(plain.size, 1)
    if plain not in found and share >= WORTH_SPLITTING[facts.format]:
        found.append(CardPlan(plain.plan, plain.need, min(1.0, share), split=True))
    return list(dict.fromkeys(found))
