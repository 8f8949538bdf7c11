"""What a user is told: one plain line, on the console, in Z-Waif's Debug tab and in Python's ``logging``."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
from pathlib import Path
from typing import Any

from zwaif_hooks.host.tree import find_tree
from zwaif_hooks.storage import files

PREFIX = "[API] "
LOG_FILE = "zwaif_fallback.log"
LARGEST_FILE = 512 * 1024
"""Bytes; the two parts before are kept beside it, as ``zwaif_fallback.log.1`` and ``.2``."""

_logger = logging.getLogger("zwaif")
_lock = threading.RLock()
_said: set[str] = set()
_within_line = False
"""Whether what was printed last left its line open: a streamed reply, Z-Waif's prompt."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_entry = logging.Formatter("%(asctime)s %(threadName)s %(message)s")


def say(line: str) -> None:
    """Tell the user one line. Never raises; thread-safe."""
    with _lock:
        watch_console()
        _print(("\n" if _within_line else "") + PREFIX + line)
        _debug_tab(PREFIX + line)
    # Z-Waif v1.14-R4 shows what is INFO on the same console, where it would stand twice.
    _logger.debug("%s", line)


def watch_console() -> None:
    """From now on see whether what is printed leaves its line open, so that what we say begins a line of its own."""
    stream: Any = sys.stdout
    write = getattr(stream, "write", None)
    if write is None or getattr(write, "watched", False):
        return

    def watched(text: str) -> Any:
        global _within_line
        shown = _COLOUR.sub("", text) if "\x1b" in text else text
        if shown:
            _within_line = shown[-1] != "\n"
        return write(text)

    watched.watched = True  # type: ignore[attr-defined]
    with contextlib.suppress(AttributeError):  # a console that takes no attribute is written to as it is
        stream.write = watched


def say_once(key: str, line: str) -> None:
    """:func:`say`, but only the first time for each ``key`` in this process."""
    with _lock:
        if key in _said:
            return
        _said.add(key)
    say(line)


def report(line: str, exception: BaseException | None = None) -> None:
    """Tell the user one line, and put the traceback into the log file, whose place the line names."""
    where = note(line, exception) if exception is not None else None
    say(f"{line} (Details: {where})" if where else line)


def in_words(error: BaseException) -> str:
    """What it says, in one line, or its class where that is no sentence (``KeyError('x')``)."""
    text = " ".join(str(error).split())
    return text if " " in text else f"{type(error).__name__} {text}".strip()


def log_path() -> Path:
    """Where details go: ``zwaif_fallback.log`` in the user's own folder for logs."""
    import platformdirs

    return Path(platformdirs.user_log_dir("zwaif-fallback", appauthor=False)) / LOG_FILE


def note(line: str, exception: BaseException | None = None) -> Path | None:
    """Put what is too technical for the console into the log file.

    Returns its place, or ``None`` where it cannot be written; what ails it never reaches the console.
    """
    details = (type(exception), exception, exception.__traceback__) if exception is not None else None
    _logger.debug("%s", line, exc_info=details)
    entry = _entry.format(_logger.makeRecord("zwaif", logging.ERROR, "", 0, line, (), details)) + "\n"
    path = log_path()
    older = [path.with_name(f"{path.name}.{number}") for number in (1, 2)]
    try:
        files.append(path, entry.encode("utf-8", "backslashreplace"), LARGEST_FILE, older)
    except OSError as error:
        _logger.debug("The log file %s could not be written: %s", path, error)
        return None
    return path


def _print(line: str) -> None:
    """Print on a console that may be missing, closed, or unable to show every character."""
    stream = sys.stdout
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(line.encode(encoding, "replace").decode(encoding, "replace") + "\n")
        stream.flush()
    except (OSError, ValueError, LookupError) as error:
        _logger.debug("The console took no line: %s", error)


def _debug_tab(line: str) -> None:
    """Add to Z-Waif's Debug tab, where its logging module is loaded (``utils.logging`` up to v1.8)."""
    for name in ("utils.zw_logging", "utils.logging"):
        module: Any = sys.modules.get(name)
        update = getattr(module, "update_debug_log", None)
        if callable(update) and find_tree(getattr(module, "__file__", None) or ""):
            try:
                update(line)
            except Exception as error:  # Z-Waif's code: a line lost there is no reason to fail here
                _logger.debug("Z-Waif's debug log took no line: %r", error)
            return
