"""What was done to restart one server, in a file that all Z-Waifs of this user share and ``status`` reads."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from zwaif_hooks import log
from zwaif_hooks.storage import bounded, files

LARGEST_FILE = 64 * 1024
WINDOW_SECONDS = 3600.0
"""Tries that are older are forgotten."""
WELL_SECONDS = 600.0
"""A server that has been well for so long has all its tries again."""

WAITING, STARTING, GAVE_UP = "waiting", "starting", "gave up"
_TYPES: dict[str, Any] = {"list[float]": list, "float": (int, float), "int": int, "str": str}


@dataclass
class History:
    """One server. Times are in seconds since 1970."""

    tries: list[float] = field(default_factory=list)
    """When it was started."""
    well_since: float = 0.0
    """When it last recovered; 0 if that is not known, or if it has failed since."""
    state: str = ""
    """``waiting`` for the next try, ``starting``, or ``gave up``; empty if there is nothing to say."""
    program: str = ""
    most: int = 0
    """How many tries there are."""
    until: float = 0.0
    """When the next try comes."""
    since: float = 0.0
    """When the state began."""
    why: str = ""
    """Why it was given up, and the next step."""

    def failed(self, now: float) -> None:
        """An outage began: forget all tries if the server was well for long before it."""
        if self.well_since and now - self.well_since >= WELL_SECONDS:
            self.tries = []
        self.well_since = 0.0

    def forget_old_tries(self, now: float) -> None:
        self.tries = [one for one in self.tries if 0 <= now - one < WINDOW_SECONDS]

    def enter(self, state: str, now: float, *, until: float = 0.0, why: str = "") -> None:
        self.state, self.since, self.until, self.why = state, now, until, why

    def line(self, now: float) -> str:
        """Return the state in one line; empty if there is nothing to say."""
        if not 0 <= now - self.since < WINDOW_SECONDS:
            return ""
        if self.state == STARTING:
            return f"Restarting {self.program}: try {len(self.tries)} of {self.most}, {now - self.since:.0f} s ago"
        if self.state == WAITING:
            left = max(0.0, self.until - now)
            return f"Restarting {self.program}: try {len(self.tries) + 1} of {self.most} in {left:.0f} s"
        return f"{self.program} could not be restarted: {self.why}" if self.state == GAVE_UP else ""


_FIELDS = {one.name: _TYPES[str(one.type)] for one in fields(History)}


def path_for(address: str) -> Path:
    """Return the file for the server at ``address``: in the user's log folder."""
    return log.log_path().with_name(f"restart-{files.plain_name(address)}.json")


def read(path: Path) -> History:
    """Read the file; an unreadable one counts as none."""
    try:
        told = bounded.loads(bounded.read_bytes(path, LARGEST_FILE))
        known = {name: told[name] for name, kind in _FIELDS.items() if isinstance(told.get(name), kind)}
        known["tries"] = [float(one) for one in known.get("tries", ())]
    except (OSError, ValueError, TypeError, AttributeError):
        return History()
    return History(**known)


def write(path: Path, history: History) -> None:
    """
    Raises:
        OSError: it cannot be written.
    """
    files.write_atomically(path, json.dumps(asdict(history)).encode("ascii"))
