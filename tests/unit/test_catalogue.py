"""The models offered: each says what a user needs to choose, and where each fact is from."""

from __future__ import annotations

import json
from dataclasses import fields
from importlib import resources
from urllib.parse import urlsplit

import pytest

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.catalogue import OFFERS, Offer
from zwaif_fallback.models.gguf_names import quantization_in, stem_of
from zwaif_fallback.models.name_syntax import file_in_repository
from zwaif_fallback.prompt import formats
from zwaif_hooks.messages import Sampling

REAL = OFFERS[:-1]
GGUF = [offer for offer in REAL if offer.format == "GGUF"]
every_offer = pytest.mark.parametrize("offer", REAL, ids=lambda offer: offer.title)


def test_the_default_is_first_and_custom_last() -> None:
    names = catalogue.choices()
    assert names[0] == catalogue.DEFAULT == "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
    assert names[-1] == catalogue.CUSTOM
    assert len(set(names)) == len(names) == len({offer.title for offer in OFFERS})
    assert {"microsoft/phi-2", "mistralai/Mistral-7B-Instruct-v0.2", "Intel/neural-chat-7b-v3-1"} < set(names)


@every_offer
def test_every_offer_says_what_a_user_needs_to_choose(offer: Offer) -> None:
    text = catalogue.describe(offer.name)
    for fact in (offer.title, f"{offer.parameters:g}B", f"{offer.memory_gb:g} GB", offer.licence, offer.quality):
        assert fact in text
    assert f"{offer.download_gb:g} GB ({offer.format})" in text
    assert offer.use and not offer.use.endswith(".") and not offer.note.endswith(".")
    assert offer.gated in ("no", "maybe", "yes")
    assert offer.note or offer.gated == "no", "a login must be explained"
    assert 2_000 <= offer.context_window <= 1_048_576


@every_offer
def test_every_fact_has_its_source(offer: Offer) -> None:
    assert {"parameters", "licence", "gated", "context_window", "weights_gb"} <= set(offer.sources)
    assert set(offer.sources) <= {field.name for field in fields(Offer)}
    for fact in ("sampling", "effective", "languages"):
        assert (fact in offer.sources) >= bool(getattr(offer, fact)), fact
    assert "thinks" in offer.sources or offer.thinks == "never"
    for source in offer.sources.values():
        parts = urlsplit(source)
        assert parts.scheme == "https" and parts.netloc and parts.path


@every_offer
def test_sizes_agree_with_each_other(offer: Offer) -> None:
    bits = 8 * offer.download_gb / offer.parameters
    if offer.format == "safetensors":
        assert 15 < bits < 17.5
        assert offer.weights_gb["4bit"] < offer.memory_gb <= offer.download_gb
    else:
        assert 4.3 < bits < 6.6, "Q4_K_M, and a small model's table of words counts for more"
        assert offer.download_gb < offer.memory_gb < offer.download_gb + 1.5


@every_offer
def test_a_prompt_can_be_written(offer: Offer) -> None:
    """The four of the first hour have their formats here; the others bring theirs."""
    assert offer.family == catalogue.family_of(offer.name)
    assert offer.family in formats.FORMATS or (offer.family == "" and offer.format == "GGUF")


@every_offer
def test_what_is_published_for_a_model_can_be_asked_of_the_engines(offer: Offer) -> None:
    names = {field.name for field in fields(Sampling)}
    assert set(offer.sampling) <= names
    assert all(isinstance(value, int if name == "top_k" else float) for name, value in offer.sampling.items())
    assert bool(offer.sampling) == bool(offer.covers)
    if offer.sampling:
        file = file_in_repository(offer.name)[1] or offer.name
        assert catalogue.published_sampling(file) == offer.sampling, "it covers itself, and no other does so better"


@every_offer
def test_a_model_that_thinks_is_asked_not_to(offer: Offer) -> None:
    assert offer.thinks in ("never", "when asked", "by default")
    assert bool(offer.unthinking) == (offer.thinks != "never")
    name, _, value = offer.unthinking.partition("=")
    assert not name or formats._UNTHINKING[name] is json.loads(value)


@pytest.mark.parametrize(
    ("name", "temperature"),
    [
        ("Qwen3-8B-Q5_K_M.gguf", 0.7),
        ("bartowski/Qwen_Qwen3.5-2B-GGUF:Qwen_Qwen3.5-2B-Q4_K_M.gguf", 1.0),
        ("ollama:qwen3.5:9b", 0.7),
        ("ollama:gemma3:1b", 1.0),
        ("C:\\models\\LFM2.5-1.2B-Instruct-Q8_0.gguf", 0.1),
        ("Meta Llama 3.1 8B Instruct", 0.6),
        ("gemma-3n-E4B-it", None),
        ("codeqwen3", None),
        ("SmolLM2-135M-Instruct", None),
        ("", None),
    ],
)
def test_what_is_published_holds_for_a_whole_family(name: str, temperature: float | None) -> None:
    assert catalogue.published_sampling("a name without meaning", name).get("temperature") == temperature


@pytest.mark.parametrize("offer", GGUF, ids=lambda offer: offer.title)
def test_a_gguf_offer_names_one_file(offer: Offer) -> None:
    repository, file = file_in_repository(offer.name)
    assert repository.count("/") == 1 and file.endswith(".gguf")
    assert quantization_in(stem_of(file)) == offer.memory_when == "Q4_K_M"
    assert resolve_name.resolve(offer.title.upper()) in (offer.name, resolve_name.resolve(offer.name))


def test_there_is_something_for_every_machine() -> None:
    assert min(offer.memory_gb for offer in GGUF) < 0.5
    assert any(offer.memory_gb < 1 and offer.quality != "Basic" for offer in GGUF)
    assert max(offer.memory_gb for offer in GGUF) > 6


def test_the_file_holds_nothing_that_is_not_used() -> None:
    rows = json.loads(resources.files("zwaif_fallback.models").joinpath("catalogue.json").read_text("utf-8"))["offers"]
    assert len(rows) == len(REAL)
    assert set().union(*rows) == {field.name for field in fields(Offer)}


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


def test_a_model_outside_the_list_is_described_too() -> None:
    assert "someone/else" in catalogue.describe("someone/else")
    assert "owner/name" in catalogue.describe("Custom")
    assert "mistral" in catalogue.describe("someone/mistral-fine-tune")
