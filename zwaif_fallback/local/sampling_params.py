"""How the local model picks its words: Z-Waif says in which mood, the model with which numbers.

Z-Waif's presets are made for the model behind its server, mostly of 12B and more. A small model that picks so freely
talks nonsense; with a careful choice it holds its character. So of Z-Waif's numbers only the mood is taken. The numbers
are those of the model's makers, where they state any, and never warmer than its size can bear.
"""

from __future__ import annotations

import math
from dataclasses import replace
from enum import Enum

from zwaif_fallback.engine_types import LoadedModel
from zwaif_fallback.engines.sampling import advice_of
from zwaif_fallback.models import catalogue
from zwaif_hooks.messages import Sampling


class Mood(Enum):
    """How lively Z-Waif wants the reply; the value is what the temperature is multiplied with."""

    CALM = 0.7
    STANDARD = 1.0
    HOT = 1.4


CALM_BELOW, HOT_FROM = 0.6, 1.25
"""Temperatures Z-Waif asks for. Its ordinary presets say 0.7 to 1.22 (by server and release), its hottest ones, which
it takes now and then and after a bad reply, 1.27 to 1.67; calmer ones are the user's own."""
_BY_SIZE = (
    (0.25e9, 0.3, 0.15),
    (0.75e9, 0.4, 0.12),
    (1.75e9, 0.5, 0.1),
    (4e9, 0.65, 0.08),
    (9e9, 0.8, 0.06),
    (math.inf, 1.0, 0.05),
)
"""Up to so many parameters: the warmest temperature, and ``min_p``, which cuts what is less likely than so much of the
best word. Measured with 135M (docs/benchmarks.md); the larger, the nearer to what their makers publish."""
_USUAL_SIZE = 1.1e9
"""Where nobody says: as the default model."""
REPETITION_PENALTY = 1.05
REPETITION_RANGE = 32
"""Tokens: a sentence. A longer memory punishes the card's own words, none at all ends in loops."""
SMALL = 1.75e9
"""Parameters."""
_HOTTER = 0.3


def sampling_for(model: LoadedModel, wish: Sampling, temperature: float = 0.0) -> Sampling:
    """How ``model`` picks words where Z-Waif asked for ``wish``; ``temperature``, the user's, counts if not 0."""
    advice = published(model)
    warmest, min_p = _bearable(model.parameters)
    own = min(advice.temperature or warmest, warmest) * mood_of(wish).value
    return Sampling(
        temperature=temperature or round(own, 3),
        top_p=advice.top_p or 1.0,
        top_k=advice.top_k or 0,
        min_p=max(min_p, advice.min_p or 0.0),
        repetition_penalty=REPETITION_PENALTY,
        repetition_range=REPETITION_RANGE,
        seed=wish.seed,
    )


def is_small(model: LoadedModel) -> bool:
    """Whether it needs to be helped to the words that answer; larger ones find them by themselves."""
    return (model.parameters or _USUAL_SIZE) < SMALL


def mood_of(wish: Sampling) -> Mood:
    """What Z-Waif's temperature means, whichever server's it is."""
    if wish.temperature is None or CALM_BELOW <= wish.temperature < HOT_FROM:
        return Mood.STANDARD
    return Mood.HOT if wish.temperature >= HOT_FROM else Mood.CALM


def published(model: LoadedModel) -> Sampling:
    """What the model's makers recommend: what the catalogue knows of it, else what its own files say."""
    in_catalogue = catalogue.published_sampling(model.info.name, model.title)
    return advice_of(in_catalogue) if in_catalogue else model.advice


def hotter(sampling: Sampling, attempt: int) -> Sampling:
    """For another try at a reply that came out as before."""
    seed = None if sampling.seed is None else sampling.seed + 1 + attempt
    return replace(sampling, temperature=(sampling.temperature or 0.0) + _HOTTER * (attempt + 1), seed=seed)


def _bearable(parameters: int) -> tuple[float, float]:
    size = parameters or _USUAL_SIZE
    return next((temperature, min_p) for most, temperature, min_p in _BY_SIZE if size <= most)
