"""Write the model list as a page: ``docs/model-list.md``."""

from __future__ import annotations

from collections.abc import Iterable

from zwaif_fallback.models import catalogue
from zwaif_fallback.models.catalogue import Offer

_HEAD = """# The list of models

Written by `scripts/docs` from `zwaif_fallback/catalogue.json`. Which to take: [models.md](models.md#what-to-choose).

Sizes are in GB of 10^9 bytes. Memory is with a conversation of 8,192 tokens, or as many as the model takes. Models of
one quality stand in the order of preference, the best last. The short name does wherever a model is named.
"""
_ASKED = """
## How each is asked

Sampling is what the maker recommends for talk without thoughts; "nothing" means that nothing was published. It is where
the fallback starts from, not what it must use. Thoughts are always turned off: nobody would hear them.
"""
_SOURCES = """
## Where it is from

As read in November 2026.
"""


def as_markdown() -> str:
    """Return the text of the page."""
    offers = [offer for offer in catalogue.OFFERS if offer.name != catalogue.CUSTOM]
    facts = ("Model", "Parameters", "Download", "Memory", "Window", "Licence", "Login", "Quality", "Good for")
    asked = ("Model", "Sampling", "Thinks", "Turned off by", "Languages")
    sources = ("Model", "Sources")
    return "".join(
        (
            _HEAD,
            *_table(facts, map(_facts, offers)),
            _ASKED,
            *_table(asked, map(_asked, offers)),
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


def _asked(offer: Offer) -> tuple[str, ...]:
    sampling = ", ".join(f"{name} {value:g}" for name, value in offer.sampling.items()) or "nothing"
    unthinking = f"`{offer.unthinking}`" if offer.unthinking else ""
    return f"`{offer.short}`", sampling, offer.thinks, unthinking, offer.languages


def _sources(offer: Offer) -> tuple[str, ...]:
    facts: dict[str, list[str]] = {}
    for fact, place in offer.sources.items():
        facts.setdefault(place, []).append(fact.removesuffix("_gb").replace("_", " "))
    return f"`{offer.short}`", "<br>".join(f"{', '.join(of)}: <{place}>" for place, of in facts.items())
