"""Reads files that others wrote, within bounds: regular files only, limited in size, no JSON that takes long to parse.

Whatever the bytes are, the result is their content, ``ValueError`` or ``OSError``, within a few hundredths of a second.
"""

from __future__ import annotations

import errno
import json
import stat
from pathlib import Path
from typing import Any, BinaryIO

from zwaif_hooks.storage import files

MOST_BYTES = 3 * 1024 * 1024
"""The largest ``tokenizer_config.json`` in use has 1.2 MB."""
MOST_VALUES = 120_000
"""Commas, colons and brackets in a JSON text: 5 to 25 ms of work. The largest files in use have 90,000."""
MOST_DIGITS = 40
"""Digits of an integer. Tokenizers without a limit write one of 31; the time grows with the square of the length."""


def open_plain(path: Path, buffering: int = -1) -> BinaryIO:
    """Open a regular file. Raises ``OSError`` for a folder, and for a pipe or device, which could block the reader."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "It is no plain file", str(path))
    return files.retry_while_open(lambda: path.open("rb", buffering=buffering))


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a regular file.

    Raises:
        ValueError: it has more than ``most`` bytes.
        OSError: it cannot be read, or is a pipe, a device or a folder.
    """
    with open_plain(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path.name} is far too long")
    return data


def read_text(path: Path, most: int = MOST_BYTES, errors: str = "strict") -> str:
    """As :func:`read_bytes`, decoded as UTF-8, with or without a byte order mark."""
    return read_bytes(path, most).decode("utf-8-sig", errors)


def read_json(path: Path, most: int = MOST_BYTES) -> Any:
    """Return the content of a JSON file.

    Raises:
        ValueError: it is too long or damaged; the text is one line.
        OSError: it cannot be read.
    """
    data = read_bytes(path, most)
    try:
        return loads(data)
    except ValueError as error:
        raise ValueError(f"{path.name} is damaged") from error


def loads(data: bytes, most_values: int = MOST_VALUES) -> Any:
    """As ``json.loads``, with a ``ValueError`` also for text that is nested too deeply or would take too long."""
    text = data.decode("utf-8-sig")
    if sum(text.count(mark) for mark in ",:[{") > most_values:
        raise ValueError(f"it holds more than {most_values:,} values")
    try:
        return json.loads(text, parse_int=_whole)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"it holds a number of {len(digits)} digits")
    return int(digits)
