"""Choose the best of the models on this computer that fit now."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from zwaif_fallback.choosing.memory_fit import Abilities, Fit, fit, is_in_time
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.search import FoundModel


@dataclass(frozen=True)
class Choice:
    """The model that ``auto`` means now."""

    model: FoundModel
    fit: Fit
    why: str
    """The reason in one line."""
    same_voice: bool = False
    """Whether it is the same model as the server's."""


def choose(
    models: Sequence[FoundModel],
    memory: Memory,
    *,
    served: FoundModel | None = None,
    window: int = 0,
    device: str = "auto",
    quantization: str = "auto",
    llama_server: str = "auto",
    can: Abilities | None = None,
) -> Choice | None:
    """Return the best model that fits now; None if none does.

    The server's own model comes first if it is fast enough, because it sounds the same. Then the largest that is fast
    enough; a model made for something other than chat, or without a chat template, only if there is no other.
    """
    fits = {
        id(model): fit(
            model.facts,
            memory,
            window=window,
            device=device,
            quantization=quantization,
            llama_server=llama_server,
            can=can,
        )
        for model in models
    }
    fitting = [model for model in models if fits[id(model)].fits]
    if served is not None and (own := fits.get(id(served))) and own.fits and is_in_time(own):
        return Choice(served, own, f"{served.name} is the server's own model and {own.text}", True)
    best = max(fitting, key=lambda model: rank(model, fits[id(model)]), default=None)
    if best is None:
        return None
    return Choice(best, fits[id(best)], f"{best.name} is the best that fits ({fits[id(best)].text})")


def rank(model: FoundModel, how: Fit) -> tuple[float, ...]:
    """Return a sort key; larger is better."""
    facts = model.facts
    return (
        is_in_time(how),
        _is_for_talk(model.name),
        facts.has_template,
        _worth(facts) if is_in_time(how) else -facts.weights,
        -how.need.total,
    )


def is_clearly_better(new: Choice, old: Choice) -> bool:
    """Return whether a switch is worth the seconds it takes. Ignoring small differences keeps the choice stable."""
    if is_in_time(new.fit) != is_in_time(old.fit):
        return is_in_time(new.fit)
    if new.same_voice != old.same_voice:
        return new.same_voice
    return _worth(new.model.facts) > 1.3 * _worth(old.model.facts)


def _worth(facts: ModelFacts) -> float:
    """Return the parameters, discounted below four bits, where a model loses more than a smaller one lacks."""
    bits = 8 * facts.weights / max(facts.parameters, 1)
    return facts.parameters * (1.0 if bits >= 4 else 0.6 if bits >= 3 else 0.3)


def _is_for_talk(name: str) -> bool:
    words = set(re.split(r"[^a-z]+", name.casefold()))
    return not words & {"coder", "code", "math", "guard", "ocr", "base", "reranker", "translate", "tts", "draft"}
