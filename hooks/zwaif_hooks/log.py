"""What the user is told: one plain line on the console and in Z-Waif's Debug tab, with details in a log file."""

from __future__ import annotations

import contextlib
import logging
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zwaif_hooks.masking import masked
from zwaif_hooks.storage import files

PREFIX = "[API] "
LOG_FILE = "zwaif_fallback.log"
LARGEST_FILE = 512 * 1024
"""Bytes; older parts are kept as ``zwaif_fallback.log.1`` and ``.2``."""

_logger = logging.getLogger("zwaif")
_lock = threading.RLock()
_said: set[str] = set()
_listeners: list[Callable[[str], None]] = []
_within_line = False
"""The last output left its line open: a streamed reply, or Z-Waif's prompt."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_entry = logging.Formatter("%(asctime)s %(threadName)s %(message)s")


def _mask_record(record: logging.LogRecord) -> bool:
    """Mask the message and the traceback of a record, for whatever handlers Z-Waif has."""
    record.msg, record.args = masked(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = masked(_entry.formatException(record.exc_info))
    return True


_logger.addFilter(_mask_record)


def say(line: str) -> None:
    """Tell the user one line. Never raises; thread-safe."""
    line = masked(line)
    with _lock:
        watch_console()
        _print(("\n" if _within_line else "") + PREFIX + line)
        for listener in _listeners:
            listener(PREFIX + line)
    # Not INFO: Z-Waif v1.14-R4 prints that on the same console, so the line would appear twice.
    _logger.debug("%s", line)


def also_tell(listener: Callable[[str], None]) -> None:
    """Pass every line to ``listener`` as well, which must not raise."""
    if listener not in _listeners:
        _listeners.append(listener)


def watch_console() -> None:
    """Watch the console from now on, so that a line of ours never starts in the middle of another."""
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
    with contextlib.suppress(AttributeError):  # a console without settable attributes is not watched
        stream.write = watched


def say_once(key: str, line: str) -> None:
    """:func:`say`, but only the first time for each ``key`` in this process."""
    with _lock:
        if key in _said:
            return
        _said.add(key)
    say(line)


def report(line: str, exception: BaseException | None = None) -> None:
    """Tell the user one line, and write the traceback to the log file, whose path is part of the line."""
    where = note(line, exception) if exception is not None else None
    say(f"{line} (Details: {where})" if where else line)


def in_words(error: BaseException) -> str:
    """Return its message in one line, with its class if the message is no sentence (``KeyError('x')``)."""
    text = " ".join(str(error).split())
    return text if " " in text else f"{type(error).__name__} {text}".strip()


def log_path() -> Path:
    """Return the path of the log file: ``zwaif_fallback.log`` in the user's log folder."""
    import platformdirs

    return Path(platformdirs.user_log_dir("zwaif-fallback", appauthor=False)) / LOG_FILE


def note(line: str, exception: BaseException | None = None) -> Path | None:
    """Write what is too technical for the console to the log file.

    Returns:
        The path of the file; None if it cannot be written, which is not reported on the console.
    """
    details = (type(exception), exception, exception.__traceback__) if exception is not None else None
    _logger.debug("%s", line, exc_info=details)
    entry = _entry.format(_logger.makeRecord("zwaif", logging.ERROR, "", 0, line, (), details)) + "\n"
    entry = masked(entry)
    path = log_path()
    older = [path.with_name(f"{path.name}.{number}") for number in (1, 2)]
    try:
        files.append(path, entry.encode("utf-8", "backslashreplace"), LARGEST_FILE, older)
    except OSError as error:
        _logger.debug("The log file %s could not be written: %s", path, error)
        return None
    return path


def _print(line: str) -> None:
    """Print to a console that may be missing, closed, or unable to show every character."""
    stream = sys.stdout
    if stream is None:
        return
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        stream.write(line.encode(encoding, "replace").decode(encoding, "replace") + "\n")
        stream.flush()
    except (OSError, ValueError, LookupError) as error:
        _logger.debug("The console took no line: %s", error)
