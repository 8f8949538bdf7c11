"""Decompresses answers in small steps: a few kilobytes may hold gigabytes, which the libraries unpack at once."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network.patient_sockets import FLOODED, MOST_BYTES
from zwaif_hooks.stream import PrimaryError

ASKED_FOR = "gzip, deflate"
"""The ``Accept-Encoding`` of guarded requests. By default, installed packages add encodings to it."""
AT_ONCE = 65536
"""Bytes of output for each step. The output may be a thousand times as long as the input."""
_PLAIN = ("", "identity")
_PACKED = ("gzip", "x-gzip", "deflate")
_EITHER_HEADER = zlib.MAX_WBITS | 32
"""Makes zlib detect whether the data is gzip or zlib."""


def unpacked(parts: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Decompress a body according to its ``Content-Encoding``.

    Raises:
        PrimaryError: the encoding is another one, or the body is damaged or too long; at any ``next``.
    """
    encoding = encoding.strip().lower()
    if encoding in _PLAIN:
        return iter(parts)
    return _inflated(parts) if encoding in _PACKED else _refused(encoding)


def _refused(encoding: str) -> Iterator[bytes]:
    yield from ()
    raise PrimaryError(FailureKind.UNREADABLE, f"the answer is packed in a way that nobody asked for ({encoding[:40]})")


def _inflated(parts: Iterable[bytes]) -> Iterator[bytes]:
    unpacker, begun = zlib.decompressobj(_EITHER_HEADER), False
    left = MOST_BYTES
    for part in parts:
        while part and not unpacker.eof:
            try:
                text = unpacker.decompress(part, AT_ONCE)
            except zlib.error as error:
                if begun:
                    raise PrimaryError(FailureKind.UNREADABLE, f"the answer cannot be unpacked: {error}") from error
                unpacker, begun = zlib.decompressobj(-zlib.MAX_WBITS), True  # "deflate" without a header is common
                continue
            begun = True
            part = unpacker.unconsumed_tail
            left -= len(text)
            if left < 0:
                raise PrimaryError(FailureKind.UNREADABLE, FLOODED)
            if text:
                yield text
