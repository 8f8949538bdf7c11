"""What a model of the catalogue will take, before any of its files is here."""

from __future__ import annotations

from zwaif_fallback.models.catalogue import Offer
from zwaif_fallback.models.facts import GGUF, ModelFacts, Shape
from zwaif_fallback.models.memory import MOST_WINDOW, NF4


def planned_facts(offer: Offer) -> ModelFacts:
    """An offer as if its headers had been read: its cache is what the planned memory has beyond the weights."""
    size = int(offer.download_gb * 1e9)
    shrunk = offer.weights_gb.get("4bit", offer.download_gb)
    beside = max(0.0, offer.memory_gb - shrunk - 0.1) * 1e9
    shape = Shape(
        cached_numbers=int(beside / min(offer.context_window, MOST_WINDOW) / 2),
        quantizable=int((offer.download_gb - shrunk) * 1e9 / (2 - NF4)),
    )
    parameters = int(offer.parameters * 1e9)
    stored = offer.memory_when if offer.format == GGUF else "bf16"
    return ModelFacts(offer.format, "", parameters, stored, offer.context_window, size, size, True, shape=shape)
