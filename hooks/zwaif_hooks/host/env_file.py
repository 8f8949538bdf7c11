"""Reads ``.env`` as python-dotenv does, and changes one line of it without touching any other byte."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from dotenv import dotenv_values
from dotenv.parser import Binding, parse_stream

from zwaif_hooks.storage import files
from zwaif_hooks.storage.rewrite import finish, rewrite

_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_UNQUOTED_SAFE = re.compile(r"[\w./:\\@+,~%()*=-]*\Z", re.ASCII)
_ASSIGNMENT = re.compile(
    r"(?P<head>\s*(?:export[^\S\r\n]+)?(?:'[^']+'|[^=#\s]+)[^\S\r\n]*=[^\S\r\n]*)(?P<rest>.*)\Z", re.S
)
_QUOTED = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")(?=[^\S\r\n]*(?:#|\r|\n|\Z))""", re.S)
_UNQUOTED = re.compile(r"(?!#).*?(?=\s+#|\s*\Z)")
_SPACED = re.compile(r"^[^\S\r\n]*[\w.]+[^\S\r\n]+=", re.M)
_TIGHT = re.compile(r"^[^\S\r\n]*[\w.]+=", re.M)
_MOST_TRIES = 20
"""How often to retry a save because another program has written meanwhile."""
_BUSY = "{path} was not changed: another program keeps writing it. Try again in a moment."
_write_lock = threading.Lock()


class EnvFileError(Exception):
    """``str(error)`` is one plain line that names the file and what to do."""


class _Edit(NamedTuple):
    """The text before and after a value, both of which stay unchanged."""

    before: str
    after: str


def read(path: Path) -> dict[str, str]:
    """Return all keys with a value, as python-dotenv gives them to Z-Waif; empty if there is no file.

    Raises:
        EnvFileError: the file exists but cannot be read.
    """
    text = _load(path)[1]
    # Interpolating ${NAME} copies the whole environment for each line: a millisecond for every fifteen lines.
    values = dotenv_values(stream=io.StringIO(text, newline=""), interpolate="${" in text)
    return {key: value for key, value in values.items() if value is not None}


def names(path: Path) -> list[str]:
    """Return the key of every line that sets one, in the order of the file, with repetitions.

    Raises:
        EnvFileError: the file exists but cannot be read.
    """
    return [binding.key for binding in _bindings(_load(path)[1]) if binding.key and binding.value is not None]


def stamp(path: Path) -> object:
    """Return a value that changes whenever anyone writes the file; None if there is no file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - faster than Path.stat, and runs before each message
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def write(path: Path, key: str, value: str) -> None:
    """Set ``key`` so that python-dotenv reads ``value``. Every other byte stays; the file is never half written.

    Changes the last line that sets the key (the one that counts), or adds a line in the file's own style.

    Raises:
        EnvFileError: the file cannot be read or written, or its other lines make this impossible.
    """
    target = Path(os.path.realpath(path))
    try:
        with _write_lock, files.locked(target):
            for _ in range(_MOST_TRIES):
                if _write_once(target, key, value):
                    return
    except files.Busy as error:
        raise EnvFileError(_BUSY.format(path=path)) from error
    raise EnvFileError(_BUSY.format(path=path))


def _write_once(path: Path, key: str, value: str) -> bool:
    """Return False if a program that does not use the lock changed the file meanwhile."""
    with _explained(path):
        finish(path)
    bom, text = seen = _load(path)
    changed = _changed(text, key, value)
    if changed is None:
        raise EnvFileError(
            f"{key} could not be saved: a line of {path} opens a quote and never closes it. Close it and try again."
        )
    return changed == text or _replace(path, bom + changed.encode("utf-8", "surrogateescape"), seen)


def _load(path: Path) -> tuple[bytes, str]:
    """Return the byte order mark, if any, and the text; bytes that are not UTF-8 become surrogates."""
    try:
        data = files.retry_while_open(path.read_bytes)
    except FileNotFoundError:
        return b"", ""
    except OSError as error:
        raise EnvFileError(
            f"{path} cannot be read ({error.strerror or error}). Check that it is a file you own."
        ) from error
    if data.startswith(_UTF16):
        raise EnvFileError(f"{path} is saved as UTF-16, which Z-Waif cannot read. Save it as UTF-8 in your editor.")
    bom = _BOM if data.startswith(_BOM) else b""
    return bom, data[len(bom) :].decode("utf-8", "surrogateescape")


def _changed(text: str, key: str, value: str) -> str | None:
    """Return the text with the new value; None if no spelling reads back right and leaves the other keys alone."""
    bindings = _bindings(text)
    edit = _edit_last(bindings, key) or _edit_append(text, key)
    others = [(b.key, b.value) for b in bindings if b.key not in (key, None)]
    for written in _spellings(value):
        candidate = edit.before + written + edit.after
        if _reads(candidate, key, value, others):
            return candidate
    return None


def _bindings(text: str) -> list[Binding]:
    return list(parse_stream(io.StringIO(text, newline="")))


def _reads(text: str, key: str, value: str, others: Sequence[tuple[str | None, str | None]]) -> bool:
    """Return whether python-dotenv reads ``value`` for ``key``, and the same as before for all other keys."""
    bindings = _bindings(text)
    if [(b.key, b.value) for b in bindings if b.key not in (key, None)] != others:
        return False
    if "${" not in text:  # nothing to interpolate, so no second parse is needed
        return next((b.value for b in reversed(bindings) if b.key == key), None) == value
    logger = logging.getLogger("dotenv.main")
    quiet, logger.disabled = logger.disabled, True  # otherwise it warns about broken lines in each try
    try:
        return dotenv_values(stream=io.StringIO(text, newline="")).get(key) == value
    finally:
        logger.disabled = quiet


def _edit_last(bindings: list[Binding], key: str) -> _Edit | None:
    """Return the place of the value in the last line that sets ``key``."""
    for index in reversed(range(len(bindings))):
        binding = bindings[index]
        assignment = _ASSIGNMENT.match(binding.original.string) if binding.key == key else None
        if assignment and binding.value is not None:
            before = "".join(b.original.string for b in bindings[:index]) + assignment["head"]
            after = "".join(b.original.string for b in bindings[index + 1 :])
            return _Edit(before, _tail(assignment["rest"]) + after)
    return None


def _tail(rest: str) -> str:
    """Return what follows the value: an inline comment, spaces, the end of the line."""
    value = _QUOTED.match(rest) or _UNQUOTED.match(rest)
    tail = rest[value.end() :] if value else rest
    return f" {tail}" if tail.startswith("#") else tail


def _edit_append(text: str, key: str) -> _Edit:
    """Add a line at the end, spaced like the file's other lines (if in doubt like Z-Waif's own: ``KEY = value``)."""
    newline = "\r\n" if "\r\n" in text else "\n" if "\n" in text else os.linesep
    gap = newline if text and not text.endswith(("\n", "\r")) else ""
    equals = "=" if len(_TIGHT.findall(text)) > len(_SPACED.findall(text)) else " = "
    return _Edit(f"{text}{gap}{key}{equals}", newline)


def _spellings(value: str) -> Iterator[str]:
    """Yield ways to write ``value``, the most natural first; python-dotenv decides which of them is right."""
    literal = value.replace(
        "${", "${:-$}{"
    )  # python-dotenv interpolates ${NAME} even in quotes, and has no escape for it
    if _UNQUOTED_SAFE.match(literal):
        yield literal
    escaped = literal.replace("\\", "\\\\")
    yield '"' + escaped.replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r") + '"'
    yield "'" + escaped.replace("'", "\\'") + "'"
    if value and "\n" not in value and "\r" not in value:
        yield literal


def _replace(path: Path, data: bytes, seen: tuple[bytes, str]) -> bool:
    """Write ``data`` to the file and keep everything else about it.

    ``seen`` is the content that the change is based on: return False, without writing, if the file has another by now.
    """
    if path.exists() and not path.stat().st_mode & 0o222:
        raise EnvFileError(f"{path} is read-only. Allow writing to it, or change the line in it by hand.")
    with _explained(path):
        return rewrite(path, data, lambda: _load(path) == seen)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise EnvFileError(
            f"{path} cannot be written ({reason}). Close other programs that have it open; check the folder's "
            "permissions and free space."
        ) from error
