"""Pick the next token from the model's scores. Imports torch only when used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zwaif_hooks.messages import Sampling

# Used if neither Z-Waif nor the model's own generation settings say anything.
DEFAULT_TEMPERATURE = 0.7
DEFAULT_TOP_P = 0.95
DEFAULT_TOP_K = 40


@dataclass(frozen=True)
class Choice:
    """Sampling with every field decided."""

    temperature: float
    top_p: float
    top_k: int
    min_p: float
    repetition_penalty: float
    repetition_range: int
    frequency_penalty: float
    presence_penalty: float
    seed: int | None


def decide(sampling: Sampling, generation_config: Any = None) -> Choice:
    """Combine Z-Waif's values, then the model's own generation settings, then this module's defaults."""
    samples = bool(getattr(generation_config, "do_sample", False))

    def own(name: str, default: float) -> float:
        value = getattr(generation_config, name, None) if samples else None
        return default if value is None else float(value)

    def wish(value: float | None, default: float) -> float:
        return default if value is None else float(value)

    penalty = getattr(generation_config, "repetition_penalty", None) or 1.0
    return Choice(
        temperature=wish(sampling.temperature, own("temperature", DEFAULT_TEMPERATURE)),
        top_p=wish(sampling.top_p, own("top_p", DEFAULT_TOP_P)),
        top_k=int(wish(sampling.top_k, own("top_k", DEFAULT_TOP_K))),
        min_p=wish(sampling.min_p, own("min_p", 0.0)),
        repetition_penalty=wish(sampling.repetition_penalty, penalty),
        repetition_range=sampling.repetition_range or 0,
        frequency_penalty=sampling.frequency_penalty or 0.0,
        presence_penalty=sampling.presence_penalty or 0.0,
        seed=sampling.seed if sampling.seed is not None and sampling.seed >= 0 else None,
    )


def advice_of(stated: Mapping[str, object]) -> Sampling:
    """Return the values in ``stated`` that a sampler can use; all others are dropped."""

    def number(name: str, least: float, most: float) -> float | None:
        value = stated.get(name)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most
        return float(value) if fits else None  # type: ignore[arg-type]

    top_k = number("top_k", 0, 1_000_000)
    return Sampling(
        temperature=number("temperature", 0.01, 2),
        top_p=number("top_p", 0.01, 1),
        top_k=None if top_k is None else int(top_k),
        min_p=number("min_p", 0, 1),
    )


class Sampler:
    """Pick the tokens of one generation, with a random state of its own."""

    def __init__(self, choice: Choice, device: Any, favoured: Sequence[int] = (), favour: float = 0.0) -> None:
        """``favour`` is added to the scores of the ``favoured`` tokens."""
        import torch

        self._choice = choice
        self._favour = favour
        self._favoured = torch.tensor(sorted(set(favoured)), device=device, dtype=torch.long)
        self._greedy = choice.temperature <= 0
        self._warpers = [] if self._greedy else _warpers(choice)
        self._random = torch.Generator(device=device)
        if choice.seed is None:
            self._random.seed()
        else:
            self._random.manual_seed(choice.seed)

    def pick(self, scores: Any, seen: Sequence[int], made: Sequence[int]) -> int:
        """Return the next token id.

        Args:
            scores: logits of the last position, shape (1, vocabulary), float32.
            seen: prompt and reply so far.
            made: the reply so far.
        """
        import torch

        if len(self._favoured):
            more = scores.new_full((1, len(self._favoured)), self._favour)
            scores = scores.index_add(1, self._favoured, more)
        scores = self._penalise(scores, seen, made)
        if self._greedy:
            return int(scores.argmax(dim=-1))
        for warp in self._warpers:
            scores = warp(None, scores)
        weights = torch.softmax(scores, dim=-1)
        return int(torch.multinomial(weights, 1, generator=self._random))

    def _penalise(self, scores: Any, seen: Sequence[int], made: Sequence[int]) -> Any:
        choice = self._choice
        if choice.repetition_penalty not in (0.0, 1.0):
            recent = seen[-choice.repetition_range :] if choice.repetition_range > 0 else seen
            scores = _repetition(scores, recent, choice.repetition_penalty)
        if made and (choice.frequency_penalty or choice.presence_penalty):
            scores = _frequency(scores, made, choice.frequency_penalty, choice.presence_penalty)
        return scores


def _warpers(choice: Choice) -> list[Callable[[Any, Any], Any]]:
    """Return transformers' own filters. Temperature comes last; before ``min_p`` it would change what that cuts."""
    from transformers.generation.logits_process import (
        MinPLogitsWarper,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
        TopPLogitsWarper,
    )

    warpers: list[Callable[[Any, Any], Any]] = []
    if choice.top_k > 0:
        warpers.append(TopKLogitsWarper(choice.top_k))
    if 0.0 < choice.top_p < 1.0:
        warpers.append(TopPLogitsWarper(choice.top_p))
    if 0.0 < choice.min_p <= 1.0:
        warpers.append(MinPLogitsWarper(choice.min_p))
    if choice.temperature != 1.0:
        warpers.append(TemperatureLogitsWarper(choice.temperature))
    return warpers


def _repetition(scores: Any, tokens: Sequence[int], penalty: float) -> Any:
    """Make tokens that already occurred less likely: positive scores are divided, negative ones multiplied."""
    import torch

    ids = torch.tensor(sorted(set(tokens)), device=scores.device)
    old = scores[:, ids]
    return scores.index_copy(1, ids, torch.where(old < 0, old * penalty, old / penalty))


def _frequency(scores: Any, made: Sequence[int], frequency: float, presence: float) -> Any:
    """Apply OpenAI's definition: minus frequency times count, minus presence once."""
    import torch

    counts = Counter(made)
    ids = torch.tensor(list(counts), device=scores.device)
    times = torch.tensor(list(counts.values()), dtype=scores.dtype, device=scores.device)
    return scores.index_add(1, ids, -(times * frequency + presence).unsqueeze(0))
