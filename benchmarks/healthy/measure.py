"""Turns with and without the guards, one after the other in changing order, so that a busy moment slows both alike."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field

from benchmarks.healthy.clients import Client, Guarded, Heard
from benchmarks.healthy.server import WORDS, Running

SETTLE_SECONDS = 0.002
"""Between two turns, so that what one leaves running is not counted to the next."""


@dataclass
class Side:
    """Microseconds, of the bare client or of the guarded one."""

    first: list[float] = field(default_factory=list)
    """From the question to the first text."""
    turn: list[float] = field(default_factory=list)
    """From the question to the end of a reply of 7 chunks."""
    burst: list[float] = field(default_factory=list)
    """From one chunk to the next of a reply that is all there."""
    paced: dict[int, list[float]] = field(default_factory=dict)
    """From the server's sending of a chunk to its arrival, by chunks a second."""
    requests: int = 0
    turns: int = 0


@dataclass(frozen=True)
class Amount:
    turns: int = 2000
    bursts: int = 100
    paced: tuple[tuple[int, int], ...] = ((30, 10), (500, 40))
    """Chunks a second, replies."""


SMOKE = Amount(5, 2, ((500, 1),))


def quantile(values: Iterable[float], share: float) -> float:
    """By nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def measure(server: Running, client: Client, guard: Guarded, amount: Amount) -> tuple[Side, Side]:
    """Without and with the guards."""
    bare, ours = Side(), Side()
    for manner, rounds in (("short", amount.turns), ("burst", amount.bursts), *_paced(amount)):
        for number in range(-1, rounds):
            for side in (bare, ours) if number % 2 else (ours, bare):
                _turn(server, client, guard if side is ours else None, manner, side if number >= 0 else Side())
    return bare, ours


def _paced(amount: Amount) -> list[tuple[str, int]]:
    return [(f"paced {a_second}", rounds) for a_second, rounds in amount.paced]


def _turn(server: Running, client: Client, guard: Guarded | None, manner: str, side: Side) -> None:
    time.sleep(SETTLE_SECONDS)
    heard = Heard()
    before = server.requests()
    gc.disable()
    try:
        with guard.in_place() if guard else nullcontext():
            client.stream(manner, heard)
    finally:
        gc.enable()
    side.requests += server.requests() - before
    side.turns += 1
    _count(heard, manner, side)


def _count(heard: Heard, manner: str, side: Side) -> None:
    if manner == "short":
        assert "".join(heard.texts) == "".join(WORDS), heard
        side.first.append((heard.arrived[0] - heard.began) / 1e3)
        side.turn.append((heard.ended - heard.began) / 1e3)
    elif manner == "burst":
        side.burst += [(b - a) / 1e3 for a, b in zip(heard.arrived, heard.arrived[1:], strict=False)]
    else:
        delays = [(at - int(text)) / 1e3 for at, text in zip(heard.arrived, heard.texts, strict=True)]
        side.paced.setdefault(int(manner.split()[1]), []).extend(delays[1:])


def median(values: list[float]) -> float:
    return statistics.median(values) if values else math.nan
