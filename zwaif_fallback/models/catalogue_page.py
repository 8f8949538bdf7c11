"""Write the model list as a page: ``docs/model-list.md``."""

from __future__ import annotations

from collections.abc import Iterable

from zwaif_fallback.models import catalogue
from zwaif_fallback.models.catalogue import Offer

_HEAD = """# The list of models

Written by `scripts/docs` from `models/catalogue.json`. Which to choose: [models](models.md#what-to-choose).

Sizes are in GB of 10^9 bytes. Memory is planned, not measured, with 8,192 tokens of conversation, or less if the
model's window is smaller; [how near that is](models.md#predicted-and-measured-memory).
Models of the same quality are in order of preference, the best last. The short name works wherever a model is named.
"""
_HOW_RUN = """
## How each is run

Sampling is the maker's recommendation for chat without thinking; "nothing" means that none was published. The fallback
starts from it. Thinking is always turned off: nobody would hear it.
"""
_SOURCES = """
## Sources

Read in November 2026.
"""


def as_markdown() -> str:
    """Return the text of the page."""
    offers = [offer for offer in catalogue.OFFERS if offer.name != catalogue.CUSTOM]
    facts = ("Model", "Parameters", "Download", "Memory", "Window", "Licence", "Login", "Quality", "Good for")
    how_run = ("Model", "Sampling", "Thinks", "Turned off by", "Languages")
    sources = ("Model", "Sources")
    return "".join(
        (
            _HEAD,
            *_table(facts, map(_facts, offers)),
            _HOW_RUN,
            *_table(how_run, map(_how_run, offers)),
            _SOURCES,
            *_table(sources, map(_sources, offers)),
        )
    )


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterable[str]:
    yield f"\n| {' | '.join(heading)} |\n{'|---' * len(heading)}|\n"
    yield from (f"| {' | '.join(row)} |\n" for row in rows)


def _facts(offer: Offer) -> tuple[str, ...]:
    effective = f", of which {offer.effective:g}B at a time" if offer.effective else ""
    return (
        f"{offer.title}: **`{offer.short}`**<br>`{offer.name}`",
        f"{offer.parameters:g}B{effective}",
        f"{offer.download_gb:g} GB {offer.format}",
        f"{offer.memory_gb:g} GB ({offer.memory_when})",
        f"{offer.context_window:,}",
        offer.licence,
        offer.gated,
        offer.quality,
        ". ".join(filter(None, (offer.use, offer.note))),
    )


def _how_run(offer: Offer) -> tuple[str, ...]:
    sampling = ", ".join(f"{name} {value:g}" for name, value in offer.sampling.items()) or "nothing"
    unthinking = f"`{offer.unthinking}`" if offer.unthinking else ""
    return f"`{offer.short}`", sampling, offer.thinks, unthinking, offer.languages


def _sources(offer: Offer) -> tuple[str, ...]:
    facts: dict[str, list[str]] = {}
    for fact, place in offer.sources.items():
        facts.setdefault(place, []).append(fact.removesuffix("_gb").replace("_", " "))
    return f"`{offer.short}`", "<br>".join(f"{', '.join(of)}: <{place}>" for place, of in facts.items())
