"""Names, quality and speed as a person reads them; and which names could be on the hub."""

from __future__ import annotations

import pytest

from zwaif_fallback.choosing.suggestions import QUALITIES
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.display_names import quality, readable
from zwaif_fallback.models.name_syntax import is_hub_name

OFFERS = [offer for offer in catalogue.OFFERS if offer.name != catalogue.CUSTOM]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lmstudio:publisher/repo/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2 135M Instruct"),
        ("ollama:llama3.2:3b", "llama3.2:3b"),
        ("TinyLlama/TinyLlama-1.1B-Chat-v1.0", "TinyLlama 1.1B Chat"),
        ("/home/somebody/models/Qwen3-4B-Q4_K_M.gguf", "Qwen3 4B"),
        ("C:\\AI\\Mistral-7B-Instruct-v0.3", "Mistral 7B Instruct v0.3"),
        ("owner/Foo-GGUF:Foo-7B-IQ3_XS.gguf", "Foo 7B"),
        ("owner/Foo-GGUF", "Foo"),
        ("big-model-00001-of-00003.gguf", "big model"),
        ("x", "x"),
        ("---", "---"),
        ("", ""),
    ],
)
def test_names(name: str, told: str) -> None:
    assert readable(name) == told


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.title)
def test_quality_by_size_promises_no_more_than_the_list(offer: catalogue.Offer) -> None:
    """Nor much less: the best of their size are one word better."""
    by_size = QUALITIES.index(quality(offer.parameters * 1e9))
    assert QUALITIES.index(offer.quality) - by_size in (0, 1)


def test_unknown_size_has_no_quality() -> None:
    assert quality(0) == ""


@pytest.mark.parametrize("offer", OFFERS, ids=lambda offer: offer.title)
def test_every_offer_has_a_name_of_the_hub(offer: catalogue.Offer) -> None:
    assert is_hub_name(offer.name)


@pytest.mark.parametrize(
    "name", ["owner/name", "owner/name:file.gguf", "owner/name:folder/file.Q4_K_M.GGUF", "a-b/c.d_e"]
)
def test_names_of_the_hub(name: str) -> None:
    assert is_hub_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "name",
        "' /x:y'",
        "Configurables/x:y",
        "D:folder",
        " C:/folder",
        "C:/folder",
        "owner/name:../x.gguf",
        "owner/name:/x.gguf",
        "owner/name:C:x.gguf",
        "owner/name:x.gguf ",
        "owner/name\n",
        "owner//name",
        "../name",
        "owner/..",
        "owner/a--b",
        "owner/name.git",
        "owner/näme",
        "owner/" + "x" * 100,
    ],
)
def test_what_the_hub_could_not_have(name: str) -> None:
    assert not is_hub_name(name)
