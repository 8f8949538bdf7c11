"""Who has no model is led to the best one that fits the computer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import Constraints
from zwaif_fallback.choosing.memory_fit import NO_ENGINE, PARTLY, Abilities
from zwaif_fallback.choosing.suggestions import MOST_DOWNLOAD_GB, QUALITIES, Recommendation, recommended
from zwaif_fallback.hardware import Gpu, Memory
from zwaif_fallback.models import catalogue

GB = 1_000_000_000
CARD_FOR_ALL = Abilities(torch_cuda=True, gguf_cuda=True, four_bit=True)
CARD_FOR_TORCH = Abilities(torch_cuda=True, four_bit=True)
NO_CARD = Abilities()
NO_GGUF = Abilities(gguf=False)


def on(ram: float, cores: int, can: Abilities = NO_CARD, card: float = 0, free: float | None = None) -> str:
    """Short name of what is recommended for a computer of so many GB."""
    found = recommendation(ram, cores, can, card, free)
    return found.offer.short if found else ""


def recommendation(
    ram: float, cores: int, can: Abilities = NO_CARD, card: float = 0, free: float | None = None
) -> Recommendation | None:
    cards = (Gpu("A card", int(card * GB), int(card * GB)),) if card else ()
    memory = Memory(int(ram * GB), int((ram / 2 if free is None else free) * GB), cards)
    return recommended(Constraints(), memory, can, cores)


CARD_6, CARD_12, CARD_24 = "a card with 6 GB free", "a card with 12 GB free", "a card with 24 GB free"
NO_NVIDIA = "no NVIDIA card"
MACHINES = {  # Memory in GB, cores, and the card's.
    "4 GB of memory": (4, 4, 0, "lfm2.5-1.2b", "lfm2.5-1.2b", "", ""),
    f"8 GB, 4 cores, {NO_NVIDIA}": (8, 4, 0, "gemma-4-e2b", "gemma-4-e2b", "tinyllama", "gemma-4-e2b"),
    f"16 GB, 2 cores, {NO_NVIDIA}": (16, 2, 0, "lfm2.5-1.2b", "lfm2.5-1.2b", "tinyllama", "lfm2.5-1.2b"),
    "16 GB, 4 cores, graphics of Intel or AMD only": (
        16,
        4,
        0,
        "gemma-4-e2b",
        "gemma-4-e2b",
        "tinyllama",
        "gemma-4-e2b",
    ),
    f"16 GB, 8 cores, {NO_NVIDIA}": (16, 8, 0, "qwen3-4b-2507", "qwen3-4b-2507", "tinyllama", "qwen3-4b-2507"),
    f"16 GB, 8 cores, {CARD_6}": (16, 8, 6, "qwen3-4b-2507", "qwen3-4b-2507", "phi-2", "qwen3-4b-2507"),
    f"32 GB, 8 cores, {CARD_12}": (32, 8, 12, "ministral-3-8b", "qwen3-4b-2507", "phi-2", "ministral-3-8b"),
    f"64 GB, 16 cores, {CARD_24}": (64, 16, 24, "ministral-3-8b", "qwen3-4b-2507", "phi-2", "ministral-3-8b"),
}
"""By what the manual calls them: short names of what is recommended where llama.cpp can use the card, where torch only
can, and without llama.cpp, with what would be better then."""


@pytest.mark.parametrize("machine", MACHINES)
def test_the_best_for_every_kind_of_computer(machine: str) -> None:
    ram, cores, card, best, by_torch, without, better = MACHINES[machine]
    assert on(ram, cores, CARD_FOR_ALL, card) == best
    assert on(ram, cores, CARD_FOR_TORCH, card) == by_torch
    no_engine = recommendation(ram, cores, replace(CARD_FOR_ALL, gguf=False), card)
    assert (no_engine.offer.short if no_engine else "") == without
    assert (no_engine.better.short if no_engine and no_engine.better else "") == better


def test_the_manual_has_those_computers() -> None:
    text = (Path(catalogue.__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    for machine, (*_, best, _, _, _) in MACHINES.items():
        offer = catalogue.find(best)
        assert offer is not None and f"| {machine} | `{best}` | {offer.download_gb:g} GB |" in text


@pytest.mark.parametrize(
    ("ram", "cores", "can", "card", "short"),
    [
        (16, 1, NO_CARD, 0, "lfm2.5-350m"),  # The processor has to read the whole conversation.
        (8, 8, NO_CARD, 0, "qwen3.5-4b"),
        (16, 8, CARD_FOR_ALL, 8, "ministral-3-8b"),
        (16, 8, CARD_FOR_ALL, 2.6, "gemma-4-e4b"),  # A part on the card makes the rest quick enough,
        (16, 2, CARD_FOR_ALL, 2, "gemma-4-e2b"),  # and the rest must suit the processor.
        (1, 8, NO_CARD, 0, ""),
    ],
)
def test_the_best_that_fits(ram: float, cores: int, can: Abilities, card: float, short: str) -> None:
    assert on(ram, cores, can, card) == short


def test_nobody_without_a_model_is_led_to_the_default_where_llama_cpp_runs() -> None:
    for ram, cores, card, *_ in MACHINES.values():
        for can in (NO_CARD, CARD_FOR_TORCH, CARD_FOR_ALL):
            found = recommendation(ram, cores, can, card)
            assert found is not None and found.offer.name != catalogue.DEFAULT


def test_of_one_quality_what_the_card_holds_as_a_whole() -> None:
    assert on(16, 8, CARD_FOR_ALL, 6) == "qwen3-4b-2507"
    partly = recommendation(16, 8, CARD_FOR_ALL, 4)
    assert partly is not None and partly.fit.verdict == PARTLY and 0.3 < partly.fit.on_card < 1


def test_a_computer_that_is_busy_now_is_not_a_small_one() -> None:
    assert on(16, 8, free=0.5) == "qwen3-4b-2507"


def test_nobody_is_led_to_a_login_or_to_hours_of_waiting() -> None:
    everything = recommended(
        Constraints(), Memory(512 * GB, 512 * GB, (Gpu("A card", 80 * GB, 80 * GB),)), CARD_FOR_ALL, 64
    )
    assert everything is not None
    assert everything.offer.gated == "no" and everything.offer.download_gb <= MOST_DOWNLOAD_GB


def test_who_cannot_run_gguf_files_hears_what_would_be_better() -> None:
    here, with_engine = recommendation(16, 8, NO_GGUF), recommendation(16, 8)
    assert here is not None and with_engine is not None
    assert here.offer.format == "safetensors" and here.better == with_engine.offer
    assert with_engine.better is None
    assert "pip install" in NO_ENGINE


def test_the_settings_count() -> None:
    card = Memory(16 * GB, 8 * GB, (Gpu("A card", 8 * GB, 8 * GB),))
    kept_off = recommended(Constraints(device="cpu"), card, CARD_FOR_ALL, 8)
    assert kept_off is not None and kept_off.offer.short == "qwen3-4b-2507"


def test_one_line_for_the_user() -> None:
    found = recommendation(16, 2)
    assert found is not None
    assert found.text == "LFM2.5 1.2B Instruct (download 0.73 GB; CPU only, about 27 tokens/s)"


@pytest.mark.parametrize("offer", catalogue.OFFERS[:-1], ids=lambda offer: offer.title)
def test_every_offer_can_be_ranked_and_named(offer: catalogue.Offer) -> None:
    assert offer.quality in QUALITIES
    assert catalogue.find(offer.short.upper()) is offer
    assert resolve_name.resolve(offer.short) in (offer.name, resolve_name.resolve(offer.name))
    assert not offer.short.isdigit() and offer.short == offer.short.casefold() and len(offer.short) <= 16


def test_short_names_are_different() -> None:
    assert len({offer.short for offer in catalogue.OFFERS}) == len(catalogue.OFFERS)
