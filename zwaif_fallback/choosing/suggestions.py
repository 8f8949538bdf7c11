"""What to suggest where the model that was set is missing: one that is here already, or the best one to download."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from zwaif_fallback.choosing.auto import Wishes, choose_here, pick
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
"""Half an hour on a line of 25 Mbit/s: who waits longer than that has chosen the model, and not been led to it."""
PROMPT_TOKENS, PROMPT_SECONDS = 1000, 17.0
"""The first reply of an outage reads the whole conversation, and this is how long that may take on a processor."""
READING_RATE = 50e9
"""Parameters times tokens a second that one core reads at (llama.cpp: 500 tokens by 110M in 549 ms on two cores)."""


@dataclass(frozen=True)
class Recommendation:
    """One offer, and why."""

    offer: Offer
    fit: Fit
    better: Offer | None = None
    """What would be recommended if GGUF files could be run here (``fit.NO_ENGINE`` says how); None where they can."""

    @property
    def text(self) -> str:
        """For one line: ``Qwen2.5 1.5B Instruct (download 1 GB; CPU only, about 20 tokens/s)``."""
        return f"{self.offer.title} (download {self.offer.download_gb:.2g} GB; {self.fit.text})"


def instead(tree: Path | None, model_dir: str = "") -> str:
    """One line with the best of those that fit and the command that takes it; empty where none does.

    Looks at the disk: some hundredths of a second, up to a second for hundreds of files.
    """
    wishes = Wishes(tree, model_dir)
    choice = choose_here(wishes)
    if choice is None:
        return without_engine(wishes)
    setting = choice.model.setting
    name = f'"{setting}"' if " " in setting else setting
    return f"On this computer already: {setting}. To take it: zwaif-fallback settings set API_FALLBACK_MODEL {name}"


def without_engine(wishes: Wishes) -> str:
    """One line with the best GGUF model, where nothing but the package that runs those is missing; else empty."""
    models = find_models(wishes.tree, wishes.model_dir).models
    choice = pick(models, wishes, memory_now(), Abilities(gguf=True))
    return f"On this computer already: {choice.model.setting}. It {NO_ENGINE}" if choice else ""


def recommended(
    wishes: Wishes | None = None,
    memory: Memory | None = None,
    can: Abilities | None = None,
    cores: int | None = None,
) -> Recommendation | None:
    """The best offer for this computer; None where not even the smallest fits.

    It talks in time on the card, or on the processor (:data:`PROMPT_SECONDS`, ``fit.TALKING_SPEED``), needs no login,
    and is no larger than :data:`MOST_DOWNLOAD_GB`. Of those the best quality, then GGUF, then what is on the card as a
    whole, then the catalogue's own order. Where nothing is quick enough, the quickest that fits.

    Half of the computer's memory counts as free: what runs at this moment says little about the moment of an outage. A
    card's memory counts as far as it is free, since a server that hangs keeps its own.

    Args:
        wishes: the settings that count (window, device, quantization).
        memory: of this computer, by default as it is now.
        can: what the installed libraries can do, by default what is seen.
        cores: physical ones, by default this computer's.
    """
    wishes, can = wishes or Wishes(), can or abilities()
    memory, cores = _room(memory or memory_now()), cores or cpu_cores()
    best = _best(wishes, memory, can, cores)
    return replace(best, better=_with_engine(wishes, memory, can, cores)) if best else None


def with_engine(wishes: Wishes, memory: Memory | None = None, can: Abilities | None = None) -> Offer | None:
    """What would be recommended if GGUF files could be run here; None where they can, or where nothing fits."""
    return _with_engine(wishes, _room(memory or memory_now()), can or abilities(), cpu_cores())


def _room(memory: Memory) -> Memory:
    return replace(memory, ram_free=max(memory.ram_free, memory.ram_total // 2))


def _with_engine(wishes: Wishes, memory: Memory, can: Abilities, cores: int) -> Offer | None:
    best = None if can.gguf else _best(wishes, memory, replace(can, gguf=True), cores)
    return best.offer if best and best.offer.format == GGUF else None


def nothing_here(wishes: Wishes) -> ModelNotFound:
    """The error for who has chosen no model and has none that could answer: it leads to the best for the computer."""
    found, more = recommended(wishes), with_engine(wishes)
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


def _best(wishes: Wishes, memory: Memory, can: Abilities, cores: int) -> Recommendation | None:
    possible = []
    for offer in catalogue.OFFERS:
        if offer.parameters and offer.gated == "no" and offer.download_gb <= MOST_DOWNLOAD_GB:
            how = fit(
                planned_facts(offer),
                memory,
                window=wishes.window,
                device=wishes.device,
                quantization=wishes.quantization,
                can=can,
            )
            if how.fits:
                possible.append(Recommendation(offer, how))
    return max(possible, key=lambda one: _rank(one, cores), default=None)


def _rank(one: Recommendation, cores: int) -> tuple[float, ...]:
    """The larger, the better."""
    offer, how = one.offer, one.fit
    if not _in_time(one, cores):
        return (0, how.tokens_per_second)
    quality, place = preference(offer)
    return (1, quality, offer.format == GGUF, how.verdict == ON_GPU, place)


def preference(offer: Offer) -> tuple[int, int]:
    """The larger, the better, on whatever computer."""
    return QUALITIES.index(offer.quality), catalogue.OFFERS.index(offer)


def _in_time(one: Recommendation, cores: int) -> bool:
    """Whether speech need not wait for words, nor for the prompt: as far as the processor has to read that."""
    computed = (one.offer.effective or one.offer.parameters) * 1e9 * (1 - one.fit.on_card)
    return is_in_time(one.fit) and PROMPT_TOKENS * computed / (READING_RATE * cores) <= PROMPT_SECONDS
