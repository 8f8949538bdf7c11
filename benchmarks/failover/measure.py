"""What is measured, one function each; every number comes from the caller's side or from the server's own log."""

from __future__ import annotations

import asyncio
import math
import statistics
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from benchmarks.failover.contender import LOOP, Async, Contender, Heard, Make
from benchmarks.failover.servers import BURST_CHUNKS, Servers
from tests.helpers.fault_server import REPLY

QUICK_FAULTS = ("refused", "reset_at_once", "http_503")
DEADLINE_FAULTS = ("silence", "pings", "role_then_silence")
TRUNCATED = (
    "polite_end_in_the_middle",
    "error_in_the_middle",
    "reset_in_the_middle",
    "no_bytes_200",
    "blank_reply",
)
SEAMS = ("goes_on", "says_it_again", "overlaps")
SETTLE_SECONDS = 0.005
"""Between two turns that are timed, so that what one leaves running is not counted to the next."""
AGAIN_AFTER = 31.0
"""Seconds after which LiteLLM's cooldown of 30 s has expired."""


@dataclass(frozen=True)
class Amount:
    """How much of everything; ``SMOKE`` only shows that the program lives."""

    fresh_starts: int = 20
    seconds_a_cell: float = 2.0
    sequential: int = 10
    herd: int = 50
    requests: int = 200
    paced_rounds: int = 10
    burst_rounds: int = 8
    again_after: float = AGAIN_AFTER


SMOKE = Amount(2, 0.5, 4, 6, 4, 1, 1, 0.0)


@dataclass
class Entrant:
    """One line of the tables."""

    name: str
    make: Make
    baseline: str = ""
    """The bare client that it stands on; empty for the tuned twin of another line, which is no slower when healthy."""


def quantile(values: Iterable[float], share: float) -> float:
    """By nearest rank; ``nan`` of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


# --- first fallback text ----------------------------------------------------------------------------------------------


def first_text(servers: Servers, entrant: Entrant, row: str, amount: Amount) -> list[float]:
    """Seconds to the first fallback text, each from a fresh start; the first is left out where more can be had."""
    found: list[float] = []
    until = time.perf_counter() + amount.seconds_a_cell
    while len(found) <= amount.fresh_starts:
        found.append(_once(servers, entrant, row, "goes_on").first_after)
        if time.perf_counter() > until:
            break
    return found[1:] or found


def asked_directly(servers: Servers, bare: Make, amount: Amount) -> list[float]:
    """The same for somebody who knew beforehand that only the second server lives."""
    contender = bare(servers.address["goes_on"], "")
    return [contender.ask("direct").first_after for _ in range(amount.fresh_starts + 1)][1:]


def deadlines(servers: Servers, entrants: Sequence[Entrant]) -> dict[tuple[str, str], Heard]:
    """By name and row. Nothing but waiting is measured, so all wait at the same time, row after row."""
    found: dict[tuple[str, str], Heard] = {}
    for row in DEADLINE_FAULTS:
        contenders = [entrant.make(servers.address[row], servers.address["goes_on"]) for entrant in entrants]
        for entrant, heard in zip(entrants, together(contenders, row), strict=True):
            found[entrant.name, row] = heard
        for contender in contenders:
            contender.close()
    return found


def together(contenders: Sequence[Contender], question: str) -> list[Heard]:
    """One turn of everyone at the same time: the asynchronous ones in the loop, the others in threads."""
    found: dict[int, Heard] = {}

    def threaded(place: int, contender: Contender) -> None:
        found[place] = contender.ask(question)

    blocking = [(i, c) for i, c in enumerate(contenders) if not isinstance(c, Async)]
    threads = [threading.Thread(target=threaded, args=pair, daemon=True) for pair in blocking]
    for thread in threads:
        thread.start()
    waiting = {i: c.turn(question) for i, c in enumerate(contenders) if isinstance(c, Async)}

    async def all_of_them() -> list[Heard]:
        return list(await asyncio.gather(*waiting.values()))

    found.update(zip(waiting, LOOP.run_until_complete(all_of_them()), strict=True))
    for thread in threads:
        thread.join(60)
    return [found[place] for place in range(len(contenders))]


# --- requests spent on a dead primary ---------------------------------------------------------------------------------


@dataclass
class Spent:
    """Requests that a primary which fails every time has seen."""

    at_start: int = 0
    """Of a herd at the first moment of the outage."""
    sequential: int = 0
    seconds: float = 0.0
    """What the sequential turns took, all together."""
    herd: int = 0
    """Of a herd right after them."""
    expired: int = 0
    """Of a herd ``AGAIN_AFTER`` seconds later."""
    cut: int = 0
    """Of sequential turns against replies that break off in the middle."""
    lost: int = 0
    """Turns that ended with an exception or without the whole reply, those against cut replies left out."""


def spent(servers: Servers, entrants: Sequence[Entrant], amount: Amount) -> dict[str, Spent]:
    found = {entrant.name: Spent() for entrant in entrants}
    alive: dict[str, Contender] = {}
    for entrant in entrants:
        log = found[entrant.name]
        _fresh(servers, entrant, "http_503", lambda c, e=entrant, s=log: _herd(servers, c, e, s, "at_start", amount))  # type: ignore[misc]
        _fresh(servers, entrant, "reset_in_the_middle", lambda c, e=entrant, s=log: _cut(servers, c, e, s, amount))  # type: ignore[misc]
        alive[entrant.name] = contender = entrant.make(servers.address["http_503"], servers.address["goes_on"])
        _sequence(servers, contender, entrant, log, amount)
        _herd(servers, contender, entrant, log, "herd", amount)
    time.sleep(amount.again_after)
    for entrant in entrants:
        _herd(servers, alive[entrant.name], entrant, found[entrant.name], "expired", amount)
        alive[entrant.name].close()
    return found


def _fresh(servers: Servers, entrant: Entrant, row: str, act: Callable[[Contender], None]) -> None:
    contender = entrant.make(servers.address[row], servers.address["goes_on"])
    act(contender)
    contender.close()


def _herd(servers: Servers, contender: Contender, entrant: Entrant, log: Spent, what: str, amount: Amount) -> None:
    before = _hits(servers, "http_503", entrant)
    turns = contender.herd([f"{entrant.name}: {what} {number}" for number in range(amount.herd)])
    setattr(log, what, _hits(servers, "http_503", entrant) - before)
    log.lost += _lost(turns)


def _sequence(servers: Servers, contender: Contender, entrant: Entrant, log: Spent, amount: Amount) -> None:
    before = _hits(servers, "http_503", entrant)
    turns = [contender.ask(f"{entrant.name}: turn {number}") for number in range(amount.sequential)]
    log.sequential = _hits(servers, "http_503", entrant) - before
    log.seconds = sum(turn.seconds for turn in turns)
    log.lost += _lost(turns)


def _cut(servers: Servers, contender: Contender, entrant: Entrant, log: Spent, amount: Amount) -> None:
    before = _hits(servers, "reset_in_the_middle", entrant)
    for number in range(amount.sequential):
        contender.ask(f"{entrant.name}: cut {number}")
    log.cut = _hits(servers, "reset_in_the_middle", entrant) - before


def _hits(servers: Servers, row: str, entrant: Entrant) -> int:
    return sum(question.startswith(f"{entrant.name}: ") for question in servers.asked(row))


def probes(servers: Servers) -> int:
    """Requests that belong to no user's turn: only ours asks by itself whether the server is back."""
    return servers.asked("http_503").count("Hi")


def _lost(turns: Iterable[Heard]) -> int:
    return sum(bool(turn.error) or turn.text != REPLY for turn in turns)


# --- truth ------------------------------------------------------------------------------------------------------------


def verdicts(servers: Servers, entrant: Entrant) -> dict[tuple[str, str], str]:
    """What became of each reply that is not one, by row and by how the second server behaves at the seam."""
    found = {}
    for row in TRUNCATED:
        for seam in SEAMS if row.endswith("in_the_middle") else SEAMS[:1]:
            found[row, seam] = verdict(_once(servers, entrant, row, seam))
    return found


def verdict(heard: Heard) -> str:
    """``whole``, ``error`` (the caller at least knows), or ``passed as success`` with what was lost or doubled."""
    if heard.error:
        return "error" if heard.text != REPLY else "whole, then error"
    if heard.text == REPLY:
        return "whole"
    if not heard.text.strip():
        return "blank passed as success"
    return "truncation passed as success" if REPLY.startswith(heard.text) else f"altered: {heard.text!r}"


# --- healthy ----------------------------------------------------------------------------------------------------------


@dataclass
class Healthy:
    """Seconds, of one contender or bare client against a healthy primary."""

    first: list[float] = field(default_factory=list)
    """From the question to the first text."""
    turn: list[float] = field(default_factory=list)
    """From the question to the end of a reply of 7 chunks."""
    chunk: list[float] = field(default_factory=list)
    """From the server's sending of a chunk to its arrival, 500 chunks a second."""
    burst: list[float] = field(default_factory=list)
    """A chunk's share of a reply that arrives all at once."""


def healthy(servers: Servers, makers: dict[str, Make], amount: Amount) -> dict[str, Healthy]:
    """Everybody in turn, round after round, so that a busy moment slows all alike."""
    second = servers.address["goes_on"]
    rows = {row: {n: make(servers.address[row], second) for n, make in makers.items()} for row in _HEALTHY_ROWS}
    found = {name: Healthy() for name in makers}
    for contenders in rows.values():
        for contender in contenders.values():
            contender.ask("warm up")
    for row, rounds in zip(_HEALTHY_ROWS, (amount.requests, amount.paced_rounds, amount.burst_rounds), strict=True):
        for number in range(rounds):
            names = list(makers) if number % 2 else list(makers)[::-1]
            for name in names:
                time.sleep(SETTLE_SECONDS)
                _HEALTHY_ROWS[row](found[name], rows[row][name].ask("Hello"))
    for contenders in rows.values():
        for contender in contenders.values():
            contender.close()
    return found


def _short(into: Healthy, heard: Heard) -> None:
    assert heard.text == REPLY, heard
    into.first.append(heard.first_after)
    into.turn.append(heard.seconds)


def _paced(into: Healthy, heard: Heard) -> None:
    into.chunk += [arrived - int(text) / 1e9 for arrived, text in heard.pieces if text.strip().isdigit()][1:]


def _burst(into: Healthy, heard: Heard) -> None:
    into.burst.append((heard.ended - heard.pieces[0][0]) / BURST_CHUNKS)


_HEALTHY_ROWS = {"healthy": _short, "paced": _paced, "burst": _burst}


def _once(servers: Servers, entrant: Entrant, row: str, seam: str) -> Heard:
    contender = entrant.make(servers.address[row], servers.address[seam])
    heard = contender.ask(f"{entrant.name}: {row}")
    contender.close()
    return heard


def median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else math.nan
