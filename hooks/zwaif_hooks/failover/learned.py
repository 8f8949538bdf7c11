"""What was learned about each LLM server, in a small file, for the next run of Z-Waif.

The file is written in the background after each turn and when an outage begins or ends. A file that is damaged, from
another version, or too old is ignored: then everything is learned again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from zwaif_hooks.failover.breaker import SILENT, Learned, Primary
from zwaif_hooks.failover.deadlines import MOST_MISSED
from zwaif_hooks.failover.recovery import GONE
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.log import note
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.network.connect import listens
from zwaif_hooks.storage import bounded, files

VERSION = 1
LARGEST_FILE = 128 * 1024
"""Bytes. Eight servers with all their samples need 30,000."""
MOST_SERVERS = 8
MOST_SAMPLES = 64
KEPT_SECONDS = 7 * 24 * 3600.0
"""What was learned longer ago is dropped: by then another model or program may be at the address."""
RECENT_SECONDS = 600.0
"""An outage that was seen longer ago says nothing about now."""
CLOCK_TOLERANCE = 60.0
"""Seconds that a file may seem to be from the future, because clocks are corrected."""

_GONE = frozenset(kind.value for kind in GONE)
_HUNG = frozenset(kind.value for kind in SILENT)
_logger = logging.getLogger("zwaif")


class LearnedFile:
    """The file of one Z-Waif tree. If two processes of it know the same server, the last one to write wins.

    ``restore`` and ``save`` block, so they are called in the background. ``wall`` returns seconds since 1970.
    """

    def __init__(self, path: Path, primaries: PrimaryRegistry, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._primaries = primaries
        self._wall = wall
        self._before: dict[str, tuple[float, Learned]] = {}
        """What earlier runs learned, by ``host:port``, with the time at which it was true."""

    def restore(self) -> None:
        """Read the file. Each primary gets its part when it is first asked."""
        try:
            self._before = _read(self._path, self._wall())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            note(
                f"What was learned about the LLM servers is learned again, because {self._path} is not usable: {error}"
            )
            return
        self._primaries.prepare_with(self._prepare)

    def resume_outages(self) -> None:
        """Begin the outages that were under way, of servers that still accept no connection."""
        for name, (at, learned) in self._before.items():
            age = max(0.0, self._wall() - at)
            if learned.outage in _GONE and age <= RECENT_SECONDS and not listens(name):
                primary = self._primaries.get(name)
                primary.failed(PrimaryFailure(FailureKind.REFUSED, f"nothing listens at {name}"))
                primary.is_open_since(learned.lasted + age)

    def save(self) -> None:
        """Write the file. If that is impossible, what was learned is lost when Z-Waif ends, and nothing else."""
        now = self._wall()
        told = {name: (now, learned) for name, learned in self._primaries.learned().items()}
        try:
            with files.locked(self._path):
                known = self._of_others(now) | told
                newest = sorted(known, key=lambda name: known[name][0] - known[name][1].idle)[-MOST_SERVERS:]
                servers = {name: {"at": known[name][0], **asdict(known[name][1])} for name in newest}
                files.write_atomically(self._path, json.dumps({"version": VERSION, "servers": servers}).encode("ascii"))
        except OSError as error:
            _logger.debug("what was learned about the servers could not be written to %s: %s", self._path, error)

    def _of_others(self, now: float) -> dict[str, tuple[float, Learned]]:
        """Return what is in the file: also servers that only earlier runs, or other processes of this tree, asked."""
        try:
            return _read(self._path, now)
        except (OSError, ValueError):
            return {}

    def _prepare(self, primary: Primary) -> None:
        if primary.name not in self._before:
            return
        at, learned = self._before[primary.name]
        age = max(0.0, self._wall() - at)
        hung = learned.outage in _HUNG and age <= RECENT_SECONDS
        primary.restore(replace(learned, idle=learned.idle + age), hung=hung)


def _read(path: Path, now: float) -> dict[str, tuple[float, Learned]]:
    """Return the entries that are not too old.

    Raises:
        ValueError: the file is damaged, or from another version.
        OSError: it cannot be read.
    """
    data = bounded.read_json(path, LARGEST_FILE)
    if not isinstance(data, dict) or data.get("version") != VERSION:
        raise ValueError(f"{path.name} has another version")
    servers = data.get("servers")
    if not isinstance(servers, dict) or len(servers) > MOST_SERVERS:
        raise ValueError(f"{path.name} is damaged")
    entries = {name: _entry(entry) for name, entry in servers.items()}
    return {name: entry for name, entry in entries.items() if -CLOCK_TOLERANCE <= now - entry[0] <= KEPT_SECONDS}


def _entry(told: Any) -> tuple[float, Learned]:
    """Check every value, because a wrong one would shift the deadlines of a healthy server."""
    if not isinstance(told, dict):
        raise ValueError("an entry is damaged")
    pairs = _listed(told.get("first"))
    if told.get("outage") not in ("", *FailureKind) or any(len(_listed(pair)) != 2 for pair in pairs):
        raise ValueError("an entry is damaged")
    return _number(told.get("at")), Learned(
        idle=_number(told.get("idle")),
        first=[[_number(value) for value in pair] for pair in pairs],
        missed=int(_number(told.get("missed"), MOST_MISSED)),
        pauses=[_number(value) for value in _listed(told.get("pauses"))],
        unmarked=int(_number(told.get("unmarked"), 1e6)),
        outage=told["outage"],
        lasted=_number(told.get("lasted")),
    )


def _listed(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) > MOST_SAMPLES:
        raise ValueError("a list is damaged")
    return value


def _number(value: Any, most: float = 1e11) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ValueError("a number is damaged")
    return float(value)
