"""Reading files that somebody else wrote: plain files only, never more than so many bytes, no JSON that takes long.

Whatever the bytes are, the answer is their content, ``ValueError`` or ``OSError``, within a few hundredths of a second.
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
"""Commas, colons and brackets of a JSON text: 5 to 25 ms of work. The largest files in use have 90,000."""
MOST_DIGITS = 40
"""Of a whole number. Tokenizers without a limit write one of 31 digits; time grows with the square of the length."""


def open_plain(path: Path, buffering: int = -1) -> BinaryIO:
    """An open file. ``OSError`` where it is a pipe or a device, which would keep its reader waiting, or a folder."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "It is no plain file", str(path))
    return files.patiently(lambda: path.open("rb", buffering=buffering))


def read_bytes(path: Path, most: int = MOST_BYTES) -> bytes:
    """The content of a plain file.

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
    """The content of a JSON file.

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
    """As ``json.loads``; text that is nested too deeply, or would take too long, is a ``ValueError`` as well."""
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
