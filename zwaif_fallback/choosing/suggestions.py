"""Suggest a model if the one that was set is missing: one that is here already, or the best one to download."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from zwaif_fallback.choosing.auto import Constraints, choose_here, pick
from zwaif_fallback.choosing.memory_fit import NO_ENGINE, ON_GPU, Abilities, Fit, abilities, fit, is_in_time
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory, cpu_cores, memory_now
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.catalogue import Offer
from zwaif_fallback.models.facts import GGUF
from zwaif_fallback.models.memory import planned_facts
from zwaif_fallback.models.search import find_models

QUALITIES = ("Basic", "Good", "Very good", "Excellent")
MOST_DOWNLOAD_GB = 6.0
"""Half an hour at 25 Mbit/s: larger models are for users who choose them, not for a suggestion."""
PROMPT_TOKENS, PROMPT_SECONDS = 1000, 17.0
"""The first reply of an outage reads the whole conversation; this is how long that may take on a processor."""
READING_RATE = 50e9
"""Parameters times tokens per second that one core reads (llama.cpp: 500 tokens by 110M in 549 ms on two cores)."""


@dataclass(frozen=True)
class Recommendation:
    """One offer, and how it fits."""

    offer: Offer
    fit: Fit
    better: Offer | None = None
    """What would be recommended if GGUF models could run here (see ``NO_ENGINE``); None if they can."""

    @property
    def text(self) -> str:
        """One line: ``Qwen2.5 1.5B Instruct (download 1 GB; CPU only, about 20 tokens/s)``."""
        return f"{self.offer.title} (download {self.offer.download_gb:.2g} GB; {self.fit.text})"


def suggest_found_model(tree: Path | None, model_dir: str = "") -> str:
    """Return one line with the best model here and the command that selects it; empty if none fits.

    Reads the disk: some hundredths of a second, up to a second for hundreds of files.
    """
    constraints = Constraints(tree, model_dir)
    choice = choose_here(constraints)
    if choice is None:
        return without_engine(constraints)
    setting = choice.model.setting
    name = f'"{setting}"' if " " in setting else setting
    return f"Already on this computer: {setting}. To use it: zwaif-fallback settings set API_FALLBACK_MODEL {name}"


def without_engine(constraints: Constraints) -> str:
    """Return one line with the best GGUF model here if only the package that runs it is missing; else empty."""
    models = find_models(constraints.tree, constraints.model_dir).models
    choice = pick(models, constraints, memory_now(), Abilities(gguf=True))
    return f"Already on this computer: {choice.model.setting}. It {NO_ENGINE}" if choice else ""


def recommended(
    constraints: Constraints | None = None,
    memory: Memory | None = None,
    can: Abilities | None = None,
    cores: int | None = None,
) -> Recommendation | None:
    """Return the best offer for this computer; None if not even the smallest fits.

    It is fast enough on the card or the processor (:data:`PROMPT_SECONDS`, ``memory_fit.TALKING_SPEED``), needs no
    login, and is no larger than :data:`MOST_DOWNLOAD_GB`. Among these: the best quality, then GGUF, then a model that
    fits on the card as a whole, then the order of the catalogue. If nothing is fast enough, the fastest that fits.

    Half of the computer's memory counts as free, because what runs now says little about the time of an outage. A
    card's memory counts only if it is free, because a server that hangs keeps its own.

    Args:
        constraints: the settings that matter (window, device, quantization).
        memory: of this computer, by default its current state.
        can: what the installed libraries support, by default detected.
        cores: physical cores, by default this computer's.
    """
    constraints, can = constraints or Constraints(), can or abilities()
    memory, cores = _room(memory or memory_now()), cores or cpu_cores()
    best = _best(constraints, memory, can, cores)
    return replace(best, better=_with_engine(constraints, memory, can, cores)) if best else None


def with_engine(constraints: Constraints, memory: Memory | None = None, can: Abilities | None = None) -> Offer | None:
    """Return what would be recommended if GGUF models could run here; None if they can, or if nothing fits."""
    return _with_engine(constraints, _room(memory or memory_now()), can or abilities(), cpu_cores())


def _room(memory: Memory) -> Memory:
    return replace(memory, ram_free=max(memory.ram_free, memory.ram_total // 2))


def _with_engine(constraints: Constraints, memory: Memory, can: Abilities, cores: int) -> Offer | None:
    best = None if can.gguf else _best(constraints, memory, replace(can, gguf=True), cores)
    return best.offer if best and best.offer.format == GGUF else None


def nothing_here(constraints: Constraints) -> ModelNotFound:
    """Return the error if no model was set and none here can answer; it suggests the best one for this computer."""
    found, more = recommended(constraints), with_engine(constraints)
    if more is not None:
        return ModelNotFound(
            f"No model that can answer is on this computer yet. The best for it, {_priced(more)}, {NO_ENGINE}. "
            "Then run: zwaif-fallback download"
        )
    if found is None:
        return ModelNotFound(
            "No model that can answer is on this computer, and no model of the list fits its memory. An LLM server on "
            "another computer can answer: zwaif-fallback settings set API_FALLBACK_HOST ADDRESS:PORT"
        )
    return ModelNotFound(
        f"No model that can answer is on this computer yet. Run: zwaif-fallback download (it fetches the best for this "
        f"computer, {_priced(found.offer)}), or choose one in Z-Waif's Settings tab."
    )


def _priced(offer: Offer) -> str:
    return f"{offer.title}, {offer.download_gb:.2g} GB"


def _best(constraints: Constraints, memory: Memory, can: Abilities, cores: int) -> Recommendation | None:
    possible = []
    for offer in catalogue.OFFERS:
        if offer.parameters and offer.gated == "no" and offer.download_gb <= MOST_DOWNLOAD_GB:
            how = fit(
                planned_facts(offer),
                memory,
                **constraints.load_settings,
                can=can,
            )
            if how.fits:
                possible.append(Recommendation(offer, how))
    return max(possible, key=lambda one: _rank(one, cores), default=None)


def _rank(one: Recommendation, cores: int) -> tuple[float, ...]:
    """Return a sort key; larger is better."""
    offer, how = one.offer, one.fit
    if not _in_time(one, cores):
        return (0, how.tokens_per_second)
    quality, place = preference(offer)
    return (1, quality, offer.format == GGUF, how.verdict == ON_GPU, place)


def preference(offer: Offer) -> tuple[int, int]:
    """Return a sort key that does not depend on the computer; larger is better."""
    return QUALITIES.index(offer.quality), catalogue.OFFERS.index(offer)


def _in_time(one: Recommendation, cores: int) -> bool:
    """Return whether speech waits neither for words nor, on a processor, for the prompt to be read."""
    computed = (one.offer.effective or one.offer.parameters) * 1e9 * (1 - one.fit.on_card)
    return is_in_time(one.fit) and PROMPT_TOKENS * computed / (READING_RATE * cores) <= PROMPT_SECONDS
