"""What is planned for a card, beside what was measured on one."""

from __future__ import annotations

import pytest

from benchmarks.gpu import SHAPES, Shape
from zwaif_fallback.models.catalogue import OFFERS
from zwaif_fallback.models.facts import SAFETENSORS, ModelFacts
from zwaif_fallback.models.facts import Shape as Numbers
from zwaif_fallback.models.memory import Plan, need, planned_facts, planned_window

GB = 1_000_000_000
MEASURED = {
    ("TinyLlama-1.1B", 0): 3.1,
    ("TinyLlama-1.1B", 4): 1.7,
    ("Phi-2", 0): 7.3,
    ("Phi-2", 4): 3.5,
    ("Mistral-7B", 0): 15.7,
    ("Mistral-7B", 4): 5.4,
}
"""GB by shape and bits: ``python -m benchmarks.gpu`` on an H200, November 2026. What the driver counts for the worker,
so with CUDA's context and the blocks that torch's allocator keeps."""
TALKED = 393 + 128 + 1491 + 8
"""Tokens of the two conversations whose caches the worker kept at that moment."""


def facts_of(shape: Shape) -> ModelFacts:
    """What the headers of such a model say."""
    group = shape.hidden // shape.heads * shape.groups
    matrices = 2 * shape.hidden * shape.hidden + 2 * shape.hidden * group
    matrices += (2 if shape.kind == "phi" else 3) * shape.hidden * shape.inner
    quantizable = shape.layers * matrices
    numbers = Numbers(
        layers=shape.layers,
        cached_numbers=2 * shape.layers * group,
        hidden=shape.hidden,
        vocabulary=shape.vocabulary,
        quantizable=quantizable,
    )
    parameters = quantizable + 2 * shape.vocabulary * shape.hidden
    return ModelFacts(SAFETENSORS, shape.kind, parameters, "bf16", shape.window, 2 * parameters, shape=numbers)


@pytest.mark.parametrize(("name", "bits"), MEASURED)
def test_the_plan_is_near_what_a_card_gave(name: str, bits: int) -> None:
    facts, measured = facts_of(SHAPES[name]), MEASURED[name, bits] * GB
    as_measured = need(facts, Plan("cuda", bits=bits), TALKED).total
    assert as_measured == pytest.approx(measured, rel=0.10), "captured steps came later: 0.1 GB, and buffers in steps"
    with_a_full_window = need(facts, Plan("cuda", bits=bits), planned_window(facts)).total
    assert as_measured <= with_a_full_window < 1.2 * measured, "Mistral's window is four times what was measured"


@pytest.mark.parametrize(
    ("name", "short"), [("TinyLlama-1.1B", "tinyllama"), ("Phi-2", "phi-2"), ("Mistral-7B", "mistral-7b")]
)
def test_the_list_of_models_says_what_is_planned(name: str, short: str) -> None:
    facts = facts_of(SHAPES[name])
    planned = need(facts, Plan("cuda", bits=4), planned_window(facts)).total
    (offer,) = (offer for offer in OFFERS if offer.short == short)
    assert offer.memory_gb == pytest.approx(planned / GB, abs=0.05)
    from_offer = need(planned_facts(offer), Plan("cuda", bits=4), planned_window(facts)).total
    assert from_offer == pytest.approx(planned, rel=0.05)
