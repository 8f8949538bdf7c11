"""Decides the local model's temperature and its other sampling parameters.

Z-Waif's presets are made for the model of its server, mostly 12B and larger. With the same parameters a small model
talks nonsense; with lower ones it stays in character. So only the mood of Z-Waif's preset is used. The parameters are
those that the model's authors recommend, if any, limited by what its size allows.
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
    """How lively Z-Waif wants the reply. The value multiplies the temperature."""

    CALM = 0.7
    STANDARD = 1.0
    HOT = 1.4


CALM_BELOW, HOT_FROM = 0.6, 1.25
"""Limits of the temperature that Z-Waif asks for. Its ordinary presets have 0.7 to 1.22, depending on server and
release; its hottest ones, used now and then and after a bad reply, 1.27 to 1.67. Lower ones are the user's own."""
_BY_SIZE = (
    (0.25e9, 0.3, 0.15),
    (0.75e9, 0.4, 0.12),
    (1.75e9, 0.5, 0.1),
    (4e9, 0.65, 0.08),
    (9e9, 0.8, 0.06),
    (math.inf, 1.0, 0.05),
)
"""For models up to so many parameters: the highest temperature, and ``min_p`` (tokens less likely than this share of
the best one are cut). Measured with 135M (docs/benchmarks.md); for larger models closer to what authors publish."""
_USUAL_SIZE = 1.1e9
"""Parameters if unknown: those of the default model."""
REPETITION_PENALTY = 1.05
REPETITION_RANGE = 32
"""Tokens, about a sentence. A longer range penalises words of the card; none leads to loops."""
SMALL = 1.75e9
"""Parameters. Up to here a model is helped to find the answer in its card."""
_HOTTER = 0.3


def sampling_for(model: LoadedModel, wish: Sampling, temperature: float = 0.0) -> Sampling:
    """Return the parameters for ``model`` where Z-Waif asked for ``wish``; the user's ``temperature`` wins unless 0."""
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
    """Whether the model needs help to find an answer in its card; larger ones find it by themselves."""
    return (model.parameters or _USUAL_SIZE) < SMALL


def mood_of(wish: Sampling) -> Mood:
    """Return the mood of Z-Waif's temperature, for any server."""
    if wish.temperature is None or CALM_BELOW <= wish.temperature < HOT_FROM:
        return Mood.STANDARD
    return Mood.HOT if wish.temperature >= HOT_FROM else Mood.CALM


def published(model: LoadedModel) -> Sampling:
    """Return what the model's authors recommend: from the catalogue, else from the model's own files."""
    in_catalogue = catalogue.published_sampling(model.info.name, model.title)
    return advice_of(in_catalogue) if in_catalogue else model.advice


def hotter(sampling: Sampling, attempt: int) -> Sampling:
    """Return parameters for another attempt after a repeated reply."""
    seed = None if sampling.seed is None else sampling.seed + 1 + attempt
    return replace(sampling, temperature=(sampling.temperature or 0.0) + _HOTTER * (attempt + 1), seed=seed)


def _bearable(parameters: int) -> tuple[float, float]:
    size = parameters or _USUAL_SIZE
    return next((temperature, min_p) for most, temperature, min_p in _BY_SIZE if size <= most)
