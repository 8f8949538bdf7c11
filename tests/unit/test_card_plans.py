"""How a card is used, by what is free on it when a model is loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.gpu import SHAPES
from tests.unit.test_planned_memory import facts_of
from zwaif_fallback.models.card_plans import WORTH_SPLITTING, card_plans
from zwaif_fallback.models.facts import GGUF, ModelFacts
from zwaif_fallback.models.memory import planned_window

GB = 1_000_000_000
MISTRAL = facts_of(SHAPES["Mistral-7B"])
TINYLLAMA = facts_of(SHAPES["TinyLlama-1.1B"])
Q4 = replace(MISTRAL, format=GGUF, quantization="Q4_K_M", weights=int(4.4 * GB))


def steps(facts: ModelFacts, *free: float, quantization: str = "auto", four_bit: bool = True) -> list[str]:
    found = card_plans(
        facts,
        [int(one * GB) for one in free],
        planned_window(facts),
        quantization=quantization,
        four_bit=four_bit,
    )
    return [f"{way.share:.0%} in {way.plan.bits or 16} bits{' split' * way.split}" for way in found]


@pytest.mark.parametrize(
    ("facts", "free", "expected"),
    [
        (MISTRAL, [40], ["100% in 16 bits", "100% in 4 bits"]),
        (MISTRAL, [24], ["100% in 4 bits", "100% in 16 bits"]),  # the server would not fit any more
        (MISTRAL, [16], ["100% in 4 bits", "90% in 16 bits split"]),
        (MISTRAL, [8], ["100% in 4 bits"]),
        (MISTRAL, [6], []),  # a smaller model, or the processor
        (MISTRAL, [0.3], []),
        (MISTRAL, [0], []),
        (MISTRAL, [], []),
        (MISTRAL, [10, 10], ["100% in 4 bits", "100% in 16 bits split"]),
        (TINYLLAMA, [6], ["100% in 16 bits", "100% in 4 bits"]),
        (TINYLLAMA, [4], ["100% in 4 bits", "100% in 16 bits"]),
        (TINYLLAMA, [2.3], ["100% in 4 bits"]),
        (TINYLLAMA, [1.5], []),
        (Q4, [24], ["100% in 16 bits"]),  # llama.cpp: as in the file
        (Q4, [4], ["58% in 16 bits split"]),
        (Q4, [4, 4], ["100% in 16 bits"]),
        (Q4, [2], []),
    ],
)
def test_the_best_that_fits_is_first(facts: ModelFacts, free: list[float], expected: list[str]) -> None:
    assert steps(facts, *free) == expected


def test_the_setting_counts() -> None:
    assert steps(MISTRAL, 40, quantization="4bit") == ["100% in 4 bits", "100% in 16 bits"]
    assert steps(MISTRAL, 40, quantization="none") == ["100% in 16 bits"]
    assert steps(MISTRAL, 18, four_bit=False) == ["100% in 16 bits"]
    assert steps(MISTRAL, 10, four_bit=False) == []


@pytest.mark.parametrize("facts", [MISTRAL, TINYLLAMA, Q4])
def test_no_plan_takes_what_is_left_to_the_desktop(facts: ModelFacts) -> None:
    for tenths in range(0, 480, 5):
        free = tenths * GB // 10
        for way in card_plans(facts, [free], planned_window(facts), four_bit=True):
            on_card = way.need.total - way.in_ram
            assert on_card <= free - 300_000_000, f"{tenths / 10} GB free"
            assert way.share == 1.0 or way.share >= WORTH_SPLITTING[facts.format]
