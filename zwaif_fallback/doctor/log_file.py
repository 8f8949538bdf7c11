"""Checks of the log file: whether it can be written, and which errors are in it."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from zwaif_fallback.doctor.findings import Finding, ok
from zwaif_fallback.doctor.situation import Situation
from zwaif_hooks import log

_RECENT_SECONDS = 7 * 24 * 3600.0
_STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_ENTRY = re.compile(rf"^({_STAMP}),\d+ (.+)\n(?!{_STAMP}|\Z)", re.MULTILINE)
"""An entry followed by a traceback. One without is about the LLM server, not an error of ours."""
_LOOKED_AT = 64 * 1024
"""How much of the end of the log is read, in bytes."""


def check_log_folder(here: Situation) -> Finding:
    folder = log.log_path().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"can be written")
    except OSError as error:
        return Finding(
            "warning",
            f"{folder} cannot be written ({error.strerror or error})",
            "If something fails, there will be no record of why.",
            f"Allow your user to write to {folder}, and check that the disk is not full.",
        )
    return ok(f"writable: {log.log_path()}")


def check_last_errors(here: Situation, now: Callable[[], float] = time.time) -> Finding:
    path = log.log_path()
    recent = [line for when, line in entries(path) if now() - when < _RECENT_SECONDS]
    if not recent:
        return ok("none in the last seven days")
    newest = list(dict.fromkeys(reversed(recent)))
    return Finding(
        "warning",
        newest[0],
        f"{len(recent)} in the last seven days. The fallback recovered from each.",
        f"If it keeps happening, read {path}, or look the text up in docs/troubleshooting.md.",
        tuple(newest[1:3]),
    )


def entries(path: Path) -> list[tuple[float, str]]:
    """Return time and text of the reported errors, oldest first; nothing if there is no readable log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOOKED_AT))
            text = file.read().decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return []
    found = []
    for stamp, line in _ENTRY.findall(text):
        thread_and_text = line.split(" ", 1)
        found.append((time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S")), thread_and_text[-1]))
    return found
