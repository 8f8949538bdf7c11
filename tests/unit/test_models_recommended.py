"""Who has no model is led to the best one that fits the computer."""

from __future__ import annotations

import pytest

from zwaif_fallback import catalogue, model_files
from zwaif_fallback.hardware import Gpu, Memory
from zwaif_fallback.models.auto import Wishes
from zwaif_fallback.models.fit import NO_ENGINE, Abilities
from zwaif_fallback.models.recommended import MOST_DOWNLOAD_GB, QUALITIES, Recommendation, recommended

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
    return recommended(Wishes(), memory, can, cores)


@pytest.mark.parametrize(
    ("ram", "cores", "can", "card", "short"),
    [
        (4, 4, NO_CARD, 0, "tinyllama-gguf"),  # The memory decides,
        (16, 1, NO_CARD, 0, "tinyllama-gguf"),  # or the processor, which has to read the whole conversation.
        (16, 2, NO_CARD, 0, "qwen2.5-1.5b"),
        (16, 4, NO_CARD, 0, "llama-3.2-3b"),
        (8, 8, NO_CARD, 0, "llama-3.2-3b"),
        (16, 8, NO_CARD, 0, "gemma-3-4b"),
        (16, 8, CARD_FOR_ALL, 8, "stheno-8b"),
        (16, 8, CARD_FOR_ALL, 2, "gemma-3-4b"),
        (16, 8, CARD_FOR_TORCH, 8, "gemma-3-4b"),  # llama.cpp does not use the card: nothing larger talks in time.
        (16, 8, NO_GGUF, 0, "tinyllama"),
        (1, 8, NO_CARD, 0, ""),
    ],
)
def test_the_best_that_fits(ram: float, cores: int, can: Abilities, card: float, short: str) -> None:
    assert on(ram, cores, can, card) == short


def test_a_computer_that_is_busy_now_is_not_a_small_one() -> None:
    assert on(16, 8, free=0.5) == "gemma-3-4b"


def test_nobody_is_led_to_a_login_or_to_hours_of_waiting() -> None:
    everything = recommended(Wishes(), Memory(512 * GB, 512 * GB, (Gpu("A card", 80 * GB, 80 * GB),)), CARD_FOR_ALL, 64)
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
    kept_off = recommended(Wishes(device="cpu"), card, CARD_FOR_ALL, 8)
    assert kept_off is not None and kept_off.offer.short == "gemma-3-4b"


def test_one_line_for_the_user() -> None:
    found = recommendation(16, 2)
    assert found is not None
    assert found.text == "Qwen2.5 1.5B Instruct (download 0.99 GB; CPU only, about 20 tokens/s)"


@pytest.mark.parametrize("offer", catalogue.OFFERS[:-1], ids=lambda offer: offer.title)
def test_every_offer_can_be_ranked_and_named(offer: catalogue.Offer) -> None:
    assert offer.quality in QUALITIES
    assert catalogue.find(offer.short.upper()) is offer
    assert model_files.resolve(offer.short) in (offer.name, model_files.resolve(offer.name))
    assert not offer.short.isdigit() and offer.short == offer.short.casefold() and len(offer.short) <= 16


def test_short_names_are_different() -> None:
    assert len({offer.short for offer in catalogue.OFFERS}) == len(catalogue.OFFERS)
