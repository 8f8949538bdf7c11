"""The turn log: who answered each turn and why, one record a turn, in memory and in a file that other programs read.

The file contains no text of a conversation. A server's own error message is left out, because it may quote one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.storage import bounded, files

MOST_RECORDS = 500
"""Records in memory, and read from the file."""
LARGEST_FILE = 2_000_000
"""Bytes after which the file is moved aside and a new one is started."""
BY_PRIMARY = "primary"
USUAL_CHARS_PER_TOKEN = 4
"""Of English text, to estimate tokens that nobody counted."""

_logger = logging.getLogger("zwaif")


@dataclass(frozen=True)
class TurnRecord:
    """One reply."""

    at: float
    """When it was complete, seconds since 1970."""
    primary: str
    """``host:port`` of the server that should have answered."""
    backend: str
    answered_by: str
    """``primary``, the name of the model or plugin that answered, or empty if nobody did."""
    cause: str = ""
    """The failure's kind; empty for a healthy turn."""
    detail: str = ""
    """The failure in one line."""
    detected_after: float = 0.0
    """Seconds from the request to the detection of the failure."""
    taken_over_after: float = 0.0
    """Seconds from the detection to the first text of the fallback."""
    seconds: float = 0.0
    """Seconds from the request to the end of the reply."""
    primary_chars: int = 0
    """Length of the primary's part of the reply, in characters."""
    chars: int = 0
    """Length of the whole reply, in characters."""
    primary_tokens: int = 0
    """Tokens by the primary: its own count, otherwise the number of chunks."""
    primary_tokens_estimated: bool = False
    fallback_tokens: int = 0
    """Tokens by the fallback: its own count, otherwise estimated from the length of its text."""
    fallback_tokens_estimated: bool = False
    note: str = ""
    """What the user should know although the reply came, for example that the server did not read the whole prompt."""


_TYPES: dict[str, Any] = {"float": (int, float), "int": int, "str": str, "bool": bool}
_FIELDS = {field.name: _TYPES[str(field.type)] for field in fields(TurnRecord)}
"""Another version of this package may have written other fields."""
_QUOTING = frozenset(
    kind.value
    for kind in FailureKind
    if kind
    not in (
        FailureKind.REFUSED,
        FailureKind.CONNECT_TIMEOUT,
        FailureKind.FIRST_TOKEN_TIMEOUT,
        FailureKind.STALLED,
        FailureKind.EMPTY,
    )
)
"""Failures whose detail may contain the server's own message, after a colon."""


class TurnLog:
    """The records of one Z-Waif. ``add`` takes a few microseconds; a background thread writes the file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._recent: deque[TurnRecord] = deque(maxlen=MOST_RECORDS)
        self._unwritten: deque[TurnRecord] = deque()
        self._written = threading.Lock()
        self.under_way: set[object] = set()
        """The replies that are being read now."""

    def add(self, record: TurnRecord) -> None:
        self._recent.append(record)
        if self._path is None:
            return
        self._unwritten.append(record)
        deferred.defer(self.flush)  # the first of several writes all records

    def recent(self) -> list[TurnRecord]:
        """Return the records in memory, oldest first."""
        return list(self._recent)

    def flush(self) -> None:
        """Write the records that are not in the file yet. If it cannot be written, they are lost, and nothing else."""
        with self._written:
            records = []
            while self._unwritten:
                records.append(self._unwritten.popleft())
            if self._path is not None and records:
                _append(self._path, records)


def path_for(tree: Path, what: str = "turns", ending: str = "jsonl") -> Path:
    """Return a file for one Z-Waif tree: in the user's log folder, named after the tree's path."""
    from zwaif_hooks.log import log_path

    name = hashlib.sha256(str(tree.resolve()).encode()).hexdigest()[:12]
    return log_path().with_name(f"{what}-{name}.{ending}")


def read(path: Path) -> list[TurnRecord]:
    """Read the records of a file, oldest first; skip invalid lines."""
    try:
        lines = bounded.read_bytes(path, LARGEST_FILE + 2_000_000).splitlines()
    except (OSError, ValueError):
        return []
    found = []
    for line in lines[-MOST_RECORDS:]:
        try:
            told = bounded.loads(line)
            known = {name: told[name] for name, kind in _FIELDS.items() if isinstance(told.get(name), kind)}
            found.append(TurnRecord(**known))
        except (ValueError, TypeError, AttributeError):
            continue
    return found


def summary(records: Iterable[TurnRecord], now: float | None = None, window: float = 3600.0) -> str:
    """Summarise the last ``window`` seconds in one line."""
    since = (time.time() if now is None else now) - window
    recent = [record for record in records if record.at >= since]
    taken = [record for record in recent if record.answered_by not in (BY_PRIMARY, "")]
    if not recent:
        return "No replies in the last hour."
    replies = "1 reply" if len(recent) == 1 else f"{len(recent)} replies"
    last = recent[-1].answered_by or "nobody"
    return f"{replies} in the last hour, {len(taken)} of them by the fallback; last by {last}."


def _append(path: Path, records: list[TurnRecord]) -> None:
    lines = "".join(json.dumps(asdict(_without_quotes(record))) + "\n" for record in records)
    try:
        files.append(path, lines.encode("ascii"), LARGEST_FILE, [path.with_suffix(".old.jsonl")])
    except OSError as error:
        _logger.debug("turn records could not be written to %s: %s", path, error)


def _without_quotes(record: TurnRecord) -> TurnRecord:
    return replace(record, detail=record.detail.partition(": ")[0]) if record.cause in _QUOTING else record
