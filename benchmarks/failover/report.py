"""The tables, as Markdown."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks.failover.contender import Heard
from benchmarks.failover.measure import (
    DEADLINE_FAULTS,
    QUICK_FAULTS,
    TRUNCATED,
    Amount,
    Entrant,
    Healthy,
    Spent,
    median,
    quantile,
)

PACKAGES = ("requests", "sseclient-py", "openai", "litellm", "langchain-core", "langchain-openai", "pydantic-ai-slim")
NEVER = "never"


@dataclass
class Results:
    entrants: list[Entrant]
    amount: Amount
    healthy: dict[str, Healthy] = field(default_factory=dict)
    direct: dict[str, list[float]] = field(default_factory=dict)
    first: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    deadlines: dict[tuple[str, str], Heard] = field(default_factory=dict)
    verdicts: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    spent: dict[str, Spent] = field(default_factory=dict)
    probes: int = 0
    seconds: float = 0.0


def lines(results: Results, missing: Sequence[str]) -> Iterator[str]:
    yield from _machine(results, missing)
    yield from _first_text(results)
    yield from _deadlines(results)
    yield from _spent(results)
    yield from _truth(results)
    yield from _healthy(results)


def _machine(results: Results, missing: Sequence[str]) -> Iterator[str]:
    versions = ", ".join(f"{name} {version}" for name in PACKAGES if (version := _version(name)))
    machine = f"{platform.system()}, {_processor()}, {os.cpu_count()} cores"
    yield f"Python {platform.python_version()}, {machine}. {versions}."
    yield f"The run took {results.seconds:.0f} s."
    if missing:
        yield "Not installed: " + ", ".join(missing) + "."


def _first_text(results: Results) -> Iterator[str]:
    yield "\n### First text when the server fails at once\n"
    yield "Milliseconds from the request to the second server's first text, each from a fresh start: relative to this"
    yield "package, median / p99."
    direct = {name: median(values) for name, values in results.direct.items()}
    yield (
        "Asked directly, the second server's first text takes "
        + ", ".join(f"{value * 1e3:.1f} ms with {name}" for name, value in direct.items())
        + "."
    )
    yield from _table(("", *QUICK_FAULTS))
    ours = {row: median(results.first[results.entrants[0].name, row]) for row in QUICK_FAULTS}
    for entrant in results.entrants:
        cells = [_quick(results.first[entrant.name, row], ours[row]) for row in QUICK_FAULTS]
        yield _row(entrant.name, *cells)


def _quick(values: Sequence[float], ours: float) -> str:
    return f"{median(values) / ours:.1f}×: {median(values) * 1e3:.1f} / {quantile(values, 0.99) * 1e3:.1f}"


def _deadlines(results: Results) -> Iterator[str]:
    yield "\n### First text when the server says nothing\n"
    yield "Seconds to the first text; every library has a deadline of 2 s. Pings are SSE comments every 0.25 s for 6 s;"
    yield "then the server closes the connection."
    yield from _table(("", *DEADLINE_FAULTS))
    for entrant in results.entrants:
        yield _row(entrant.name, *(_waited(results.deadlines[entrant.name, row]) for row in DEADLINE_FAULTS))


def _waited(heard: Heard) -> str:
    if not math.isinf(heard.first_after):
        return f"{heard.first_after:.2f}"
    return f"{NEVER} ({heard.error.partition(':')[0] or 'blank reply'} after {heard.seconds:.1f} s)"


def _spent(results: Results) -> Iterator[str]:
    amount = results.amount
    yield "\n### Requests sent to a dead server\n"
    herd, some, later = amount.herd, amount.sequential, f"{amount.again_after:.0f} s later"
    yield f"User requests that reach a server that answers 503: {herd} turns at once as the outage begins; then from a"
    yield f"fresh start {some} turns one by one, {herd} at once after those, and {herd} at once {later}."
    yield f"Replies cut: {some} turns one by one with a server whose replies break off."
    yield "Turns lost: turns without a whole reply (replies cut not counted)."
    yield from _table(
        (
            "",
            "at once",
            "one by one",
            "they took",
            "at once, then",
            "at once, later",
            "replies cut",
            "turns lost",
        )
    )
    for entrant in results.entrants:
        log = results.spent[entrant.name]
        took = f"{log.seconds:.2f} s"
        cells = (log.at_start, log.sequential, took, log.herd, log.expired, log.cut, log.lost)
        yield _row(entrant.name, *(str(cell) for cell in cells))
    yield f"\nOne-token probes that zwaif-fallback sent in the background during all of this: {results.probes}."


def _truth(results: Results) -> Iterator[str]:
    yield "\n### What the caller gets when a reply breaks off\n"
    yield "The first three columns: once each with a second server that goes on, one that repeats everything, and one"
    yield "that overlaps."
    yield from _table(("", *TRUNCATED))
    for entrant in results.entrants:
        seen = results.verdicts[entrant.name]
        cells = [_together([text for (at, _), text in seen.items() if at == row]) for row in TRUNCATED]
        yield _row(entrant.name, *cells)


def _together(verdicts: Sequence[str]) -> str:
    counted = dict.fromkeys(verdicts)
    if len(counted) == 1:
        return verdicts[0]
    return ", ".join(f"{verdicts.count(text)} {text}" for text in counted)


def _healthy(results: Results) -> Iterator[str]:
    yield "\n### Cost of a healthy reply\n"
    yield "Ratio to the bare client's median: microseconds added at p50 / p99 (differences of the quantiles; turns"
    yield "alternate)."
    yield from _table(
        ("", "on", "first text", "turn of 7 chunks", "each chunk, 500 a second", "each chunk, all at once")
    )
    for entrant in results.entrants:
        if not entrant.baseline:
            continue
        with_it, bare = results.healthy[entrant.name], results.healthy[entrant.baseline]
        cells = [_added(getattr(with_it, what), getattr(bare, what)) for what in ("first", "turn", "chunk", "burst")]
        yield _row(entrant.name, entrant.baseline, *cells)
    for name in results.direct:
        bare = results.healthy[name]
        cells = [f"{median(getattr(bare, what)) * 1e6:.0f} µs" for what in ("first", "turn", "chunk", "burst")]
        yield _row(f"{name} alone", "", *cells)


def _added(values: Sequence[float], bare: Sequence[float]) -> str:
    p50, p99 = (1e6 * (quantile(values, share) - quantile(bare, share)) for share in (0.5, 0.99))
    return f"{median(values) / median(bare):.2f}×: {p50:+.0f} / {p99:+.0f}"


def _table(head: Sequence[str]) -> Iterator[str]:
    yield ""
    yield _row(*(name.replace("_", " ") for name in head))
    yield _row(*("---" for _ in head))


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
