"""Read a GGUF file's control tokens from its vocabulary. The worker does so after llama.cpp has loaded, and thereby
validated, the file."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any

_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each scalar type."""
_STRING, _ARRAY = 8, 9
_LENGTH = struct.Struct("<Q")
_TEXTS, _KINDS = b"tokenizer.ggml.tokens", b"tokenizer.ggml.token_type"
_MORE_THAN_WORDS = (2, 3, 4)
"""Token types that llama.cpp matches before it splits text into words: unknown, control and user-defined tokens."""


def control_tokens(path: Path) -> list[str]:
    """Return the texts of the tokens that are not plain words; empty if the file does not state token types.

    Raises:
        struct.error, KeyError: the file is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk, places = _Walk(data), dict[bytes, int]()
        keys = walk.take("4sIQQ")[3]
        for _ in range(keys):
            key, (kind,) = walk.text(), walk.take("I")
            places[key] = walk.at
            walk.skip(kind)
        if not {_TEXTS, _KINDS} <= places.keys():
            return []
        walk.at = places[_KINDS]
        count = walk.take("IQ")[1]
        kinds = walk.take(f"{count}i")
        walk.at = places[_TEXTS]
        found = []
        behind = 0
        for place in [place for place, kind in enumerate(kinds[: walk.take("IQ")[1]]) if kind in _MORE_THAN_WORDS]:
            walk.skip_texts(place - behind)
            found.append(walk.text().decode("utf-8", "replace"))
            behind = place + 1
    return found


class _Walk:
    """Read little-endian values one after the other."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self.at = 0

    def take(self, form: str) -> tuple[Any, ...]:
        values = struct.unpack_from(f"<{form}", self._data, self.at)
        self.at += struct.calcsize(f"<{form}")
        return values

    def text(self) -> bytes:
        (length,) = self.take("Q")
        self.at += length
        return self._data[self.at - length : self.at]

    def skip_texts(self, count: int) -> None:
        """Skip strings with one call each: a vocabulary has a quarter of a million, and the user is waiting."""
        at, data, length_at = self.at, self._data, _LENGTH.unpack_from
        for _ in range(count):
            at += _LENGTH.size + length_at(data, at)[0]
        self.at = at

    def skip(self, kind: int) -> None:
        if kind == _ARRAY:
            inner, length = self.take("IQ")
            if inner in _SIZES:
                self.at += length * _SIZES[inner]
            elif inner == _STRING:
                self.skip_texts(length)
            else:
                for _ in range(length):
                    self.skip(inner)
        elif kind == _STRING:
            self.text()
        else:
            self.at += _SIZES[kind]
