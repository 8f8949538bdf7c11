from __future__ import annotations

import pytest

from zwaif_fallback import catalogue, prompts


def test_five_choices_with_the_default_first_and_custom_last() -> None:
    names = catalogue.choices()
    assert len(names) == 5
    assert names[0] == catalogue.DEFAULT == "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
    assert names[-1] == catalogue.CUSTOM


@pytest.mark.parametrize("offer", catalogue.OFFERS[:-1], ids=lambda offer: offer.family)
def test_every_offer_says_what_a_user_needs_to_choose(offer: catalogue.Offer) -> None:
    text = catalogue.describe(offer.name)
    for fact in (offer.title, f"{offer.parameters:g}B", f"{offer.memory_gb:g} GB", offer.licence, offer.quality):
        assert fact in text
    assert offer.weights_gb["4bit"] < offer.memory_gb <= offer.weights_gb["none"]
    assert offer.family == catalogue.family_of(offer.name)
    assert offer.family in prompts.FORMATS


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "tinyllama"),
        ("C:\\models\\phi-2\\", "phi"),
        ("microsoft/Phi-3-mini-4k-instruct", ""),
        ("mistralai/Mistral-7B-Instruct-v0.3", "mistral"),
        ("Intel/neural-chat-7b-v3-3", "neural-chat"),
        ("/home/mistral/Qwen2.5-0.5B", ""),
        ("", ""),
    ],
)
def test_family_by_name(name: str, family: str) -> None:
    assert catalogue.family_of(name) == family


def test_windows() -> None:
    assert catalogue.window_of("microsoft/phi-2") == 2048
    assert catalogue.window_of("mistralai/mistral-7b-instruct-v0.2") == 32768
    assert catalogue.window_of("someone/else") == catalogue.UNKNOWN_WINDOW
    assert catalogue.window_of(catalogue.CUSTOM) == catalogue.UNKNOWN_WINDOW


def test_a_model_outside_the_list_is_described_too() -> None:
    assert "someone/else" in catalogue.describe("someone/else")
    assert "owner/name" in catalogue.describe("Custom")
    assert "mistral" in catalogue.describe("someone/mistral-fine-tune")
