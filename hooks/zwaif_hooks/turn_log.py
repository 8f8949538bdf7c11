"""Who answered each turn, and why: one structured record a turn, in memory and in a file that other programs read.

No word of a conversation is in the file: what a server said of its failure is left out, as it may quote one.
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
"""Bytes after which the file is begun anew, what it held kept beside it."""
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
    """``host:port`` of the server that was to answer."""
    backend: str
    answered_by: str
    """``primary``, the name of the model or plugin that answered, or empty when nobody did."""
    cause: str = ""
    """The failure's kind; empty for a healthy turn."""
    detail: str = ""
    """The failure in one line."""
    detected_after: float = 0.0
    """Seconds from the question to the detection of the failure."""
    taken_over_after: float = 0.0
    """Seconds from the detection to the first text of whoever took over."""
    seconds: float = 0.0
    """From the question to the end of the reply."""
    primary_chars: int = 0
    """How much of the reply the primary gave."""
    chars: int = 0
    """Length of the whole reply."""
    primary_tokens: int = 0
    """How many of them the primary made: as it counted itself, else one for each piece it sent."""
    primary_tokens_estimated: bool = False
    fallback_tokens: int = 0
    """How many whoever took over made: as counted there, else by the length of its text."""
    fallback_tokens_estimated: bool = False
    note: str = ""
    """What the user should know though the reply came, for example that the server did not read the whole prompt."""


_TYPES: dict[str, Any] = {"float": (int, float), "int": int, "str": str, "bool": bool}
_FIELDS = {field.name: _TYPES[str(field.type)] for field in fields(TurnRecord)}
"""Other versions of ours may have written others."""
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
"""Failures whose detail may go on, behind a colon, with words of the server's."""


class TurnLog:
    """The records of one Z-Waif. ``add`` costs a few microseconds; the file is written in a thread of ours."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._recent: deque[TurnRecord] = deque(maxlen=MOST_RECORDS)
        self._unwritten: deque[TurnRecord] = deque()
        self._written = threading.Lock()
        self.under_way: set[object] = set()
        """The replies that somebody reads now."""

    def add(self, record: TurnRecord) -> None:
        self._recent.append(record)
        if self._path is None:
            return
        self._unwritten.append(record)
        deferred.defer(self.flush)  # for each: only one of them finds something to write

    def recent(self) -> list[TurnRecord]:
        """Oldest first."""
        return list(self._recent)

    def flush(self) -> None:
        """Write what is not in the file yet; a file that cannot be written costs its records, nothing else."""
        with self._written:
            records = []
            while self._unwritten:
                records.append(self._unwritten.popleft())
            if self._path is not None and records:
                _append(self._path, records)


def path_for(tree: Path) -> Path:
    """The file of one Z-Waif tree: in the user's own folder for logs, named after the tree's place."""
    from zwaif_hooks.log import log_path

    name = hashlib.sha256(str(tree.resolve()).encode()).hexdigest()[:12]
    return log_path().with_name(f"turns-{name}.jsonl")


def read(path: Path) -> list[TurnRecord]:
    """Records of a file, oldest first; lines that are none are passed over."""
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
    """One line on the last ``window`` seconds."""
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
