"""Read the header of a GGUF file: its metadata and its list of tensors. Nothing is loaded.

Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A file may come from anywhere, so every number is
checked before it is used and all work is charged to a :class:`WorkBudget`. Whatever the bytes are, the result is a
header or :class:`BadHeader` within about 50 ms and in little memory.

Long arrays (a vocabulary has hundreds of thousands of strings) are skipped. Arrays of numbers have a known size.
Arrays of strings would have to be walked one by one, which takes ten times as long as everything else, so we first
search for their end: the next key or tensor starts with a known prefix. If that guess is wrong, what follows makes no
sense, and the file is read again, walking the strings.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from zwaif_fallback.models.gguf_types import BLOCKS, stored_bytes
from zwaif_hooks.storage.bounded import open_plain

MAGIC = b"GGUF"
MAX_HEADER = 32 * 1024 * 1024
"""Bytes. The largest vocabularies in use have headers of about 20 MB."""
MAX_KEYS = 4096
"""Files in use have about 50."""
MAX_TENSORS = 8192
"""Files in use have up to 2,000."""
MAX_STRING = 1024 * 1024
MOST_NUMBER = 10**12
"""No valid count is larger. Larger ones, and values that are not numbers, count as not stated."""
MOST_WORK = 500_000
"""Units of about 0.1 µs of processor time: one string walked over, one number kept."""
MOST_SECONDS = 0.25
"""Processor time, on any machine."""
MAX_KEY = 65_535
"""Bytes, from the specification."""
KEPT_ELEMENTS = 1024
"""Arrays of numbers up to this length are kept (one number per layer, for example); longer ones are only counted."""

_CHUNK = 256 * 1024
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MAX_DEPTH = 4
_KEY_WORK, _TENSOR_WORK, _OPEN_WORK = 40, 50, 300
_READ, _SEARCHED, _DECODED = 128, 64, 16
"""Bytes per unit of work: read, searched for the end of an array, decoded."""
_NEXT_NAMES = (b"tokenizer.", b"general.", b"token_embd.", b"blk.0.")
"""How the key or tensor name after a vocabulary starts."""
_LENGTH_ZEROS = bytes(7)
"""The upper bytes of the length before such a name, which is shorter than 256 bytes."""


class BadHeader(ValueError):
    """Not a GGUF file, cut off, or impossible values; ``str(error)`` is one line."""


class WorkBudget:
    """How much work reading one model may cost.

    Args:
        most: units, see :data:`MOST_WORK`.
        now: processor time in seconds.
    """

    def __init__(self, most: int = MOST_WORK, now: Callable[[], float] = time.thread_time) -> None:
        self._left = most
        self._now = now
        self._end = now() + MOST_SECONDS

    def spend(self, units: int) -> None:
        """Charge this much work; raises BadHeader once the budget is spent."""
        self._left -= units
        if self._left < 0 or self._now() > self._end:
            raise BadHeader("it would take too long to read")


@dataclass(frozen=True)
class SkippedArray:
    """An array that was not read."""

    length: int


Value = int | float | bool | str | tuple[int | float | bool, ...] | SkippedArray


@dataclass(frozen=True)
class Tensor:
    """One tensor as listed in the header."""

    name: str
    elements: int
    ggml_type: int
    offset: int
    """In bytes, from the start of the tensor data."""

    @property
    def size(self) -> int:
        return stored_bytes(self.elements, self.ggml_type)


@dataclass(frozen=True)
class GgufHeader:
    """The header of a GGUF file."""

    version: int
    metadata: Mapping[str, Value]
    tensors: tuple[Tensor, ...]
    data_start: int
    """Where the tensor data starts, in bytes from the start of the file."""
    file_size: int

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def full_size(self) -> int:
        """Bytes the file must have for every tensor to be complete."""
        return self.data_start + max((tensor.offset + tensor.size for tensor in self.tensors), default=0)

    @property
    def is_whole(self) -> bool:
        return self.file_size >= self.full_size

    def text(self, key: str) -> str:
        """Return a string of the metadata; empty if there is none."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def number(self, key: str) -> int:
        """Return a count of the metadata (the largest if there is one per layer); 0 if none is stated."""
        return max(self.numbers(key), default=0)

    def numbers(self, key: str) -> list[int]:
        """Return the counts of an array, or a single one as a list; impossible ones are 0."""
        value = self.metadata.get(key)
        found = value if isinstance(value, tuple) else (value,) if isinstance(value, (int, float)) else ()
        return [int(one) if math.isfinite(one) and 0 < one < MOST_NUMBER else 0 for one in found]

    def count(self, key: str) -> int:
        """Return the length of an array; 0 if there is none."""
        value = self.metadata.get(key)
        return value.length if isinstance(value, SkippedArray) else len(value) if isinstance(value, tuple) else 0


def is_gguf(path: Path) -> bool:
    """Return whether a file is GGUF, by its extension or, as for Ollama's blobs, by its first bytes."""
    if path.suffix.lower() == ".gguf":
        return True
    try:
        with open_plain(path) as stream:
            return stream.read(4) == MAGIC
    except OSError:
        return False


def read_header(path: Path, work: WorkBudget | None = None) -> GgufHeader:
    """Read the header of one file.

    Args:
        work: the remaining budget of a model with several files.

    Raises:
        BadHeader: it is not a usable GGUF file.
        OSError: it cannot be read.
    """
    with open_plain(path, buffering=0) as stream:
        return read_stream(stream, path.stat().st_size, work)


def read_stream(stream: BinaryIO, size: int, work: WorkBudget | None = None) -> GgufHeader:
    """Do the same as :func:`read_header` with an open file of ``size`` bytes."""
    work = work or WorkBudget()
    work.spend(_OPEN_WORK)
    try:
        return _read(_Source(stream, size, work), jump=True)
    except BadHeader:
        # The end of an array may have been guessed wrong.
        stream.seek(0)
        return _read(_Source(stream, size, work), jump=False)


def _read(source: _Source, jump: bool) -> GgufHeader:
    version, tensor_count, key_count = _opening(source)
    metadata: dict[str, Value] = {}
    for _ in range(key_count):
        source.work.spend(_KEY_WORK)
        key = source.string(MAX_KEY)
        metadata[key] = _value(source, source.unpack("I", 4), jump)
    source.work.spend(_TENSOR_WORK * tensor_count)
    tensors = tuple(_tensor(source) for _ in range(tensor_count))
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 0 < alignment <= 1 << 20:
        raise BadHeader(f"its alignment is {str(alignment)[:40]!r}")
    data_start = -(-source.position // alignment) * alignment
    return GgufHeader(version, metadata, tensors, data_start, source.size)


def _opening(source: _Source) -> tuple[int, int, int]:
    if source.take(4) != MAGIC:
        raise BadHeader("it is not a GGUF file")
    version = source.unpack("I", 4)
    if version & 0xFFFF == 0 and version:
        raise BadHeader("it is a GGUF file for big-endian machines")
    if version not in (2, 3):
        raise BadHeader(f"it is GGUF version {version}; versions 2 and 3 are read")
    tensors, keys = source.unpack("Q", 8), source.unpack("Q", 8)
    if tensors > MAX_TENSORS or keys > MAX_KEYS:
        raise BadHeader(f"it announces {tensors} tensors and {keys} keys")
    return version, tensors, keys


def _value(source: _Source, kind: int, jump: bool) -> Value:
    if kind == _STRING:
        return source.string(MAX_STRING)
    if kind == _ARRAY:
        return _array(source, jump)
    if kind not in _SCALARS:
        raise BadHeader(f"it has a value of the unknown type {kind}")
    code = _SCALARS[kind]
    value: int | float | bool = source.unpack(code, struct.calcsize(f"<{code}"))
    return value


def _array(source: _Source, jump: bool, depth: int = 0) -> Value:
    kind, length = source.unpack("I", 4), source.unpack("Q", 8)
    if kind in _SCALARS:
        return _numbers(source, _SCALARS[kind], length)
    if kind not in (_STRING, _ARRAY) or depth >= _MAX_DEPTH:
        raise BadHeader(f"it has an array of {length} values of type {kind}")
    if kind == _ARRAY:
        for _ in range(length):
            source.work.spend(_KEY_WORK)
            _array(source, jump, depth + 1)
    elif not (jump and length > KEPT_ELEMENTS and source.skip_to_next_name(8 * length)):
        source.walk_strings(length)
    return SkippedArray(length)


def _numbers(source: _Source, code: str, length: int) -> Value:
    width = struct.calcsize(f"<{code}")
    if length > KEPT_ELEMENTS:
        source.skip(length * width)
        return SkippedArray(length)
    source.work.spend(length)
    return struct.unpack(f"<{length}{code}", source.take(length * width))


def _tensor(source: _Source) -> Tensor:
    name = source.string(MAX_KEY)
    dimensions = source.unpack("I", 4)
    if not 0 < dimensions <= 8:
        raise BadHeader(f"its tensor {name[:60]!r} has {dimensions} dimensions")
    elements = 1
    for side in struct.unpack(f"<{dimensions}Q", source.take(8 * dimensions)):
        elements *= side
    ggml_type, offset = source.unpack("I", 4), source.unpack("Q", 8)
    if elements > 1 << 48 or offset > 1 << 56:
        raise BadHeader(f"its tensor {name[:60]!r} is impossibly large")
    if ggml_type not in BLOCKS and ggml_type > 255:
        raise BadHeader(f"its tensor {name[:60]!r} has the unknown type {ggml_type}")
    return Tensor(name, elements, ggml_type, offset)


class _Source:
    """A file read forward in chunks, never beyond :data:`MAX_HEADER` or its end."""

    def __init__(self, stream: BinaryIO, size: int, work: WorkBudget) -> None:
        self._stream = stream
        self.size = size
        self.work = work
        self._limit = min(size, MAX_HEADER)
        self._chunk = b""
        self._at = 0
        """Position in the chunk."""
        self._start = 0
        """Position of the chunk in the file."""

    @property
    def position(self) -> int:
        return self._start + self._at

    def take(self, count: int) -> bytes:
        """Return exactly the next ``count`` bytes."""
        self._need(count)
        taken = self._chunk[self._at : self._at + count]
        self._at += count
        return taken

    def unpack(self, code: str, width: int) -> int:
        """Return one little-endian number."""
        self._need(width)
        (value,) = struct.unpack_from(f"<{code}", self._chunk, self._at)
        self._at += width
        number: int = value
        return number

    def string(self, longest: int) -> str:
        """Return a length-prefixed UTF-8 string; invalid bytes are replaced."""
        length = self.unpack("Q", 8)
        if length > longest:
            raise BadHeader(f"it has a text of {length} bytes instead of {longest} at most")
        self.work.spend(length // _DECODED)
        return self.take(length).decode("utf-8", "replace")

    def skip(self, count: int) -> None:
        if self.position + count > self._limit:
            raise BadHeader("it ends in the middle of its header")
        if self._at + count <= len(self._chunk):
            self._at += count
            return
        self._start, self._chunk, self._at = self.position + count, b"", 0
        self._stream.seek(self._start)

    def walk_strings(self, count: int) -> None:
        """Skip strings one by one."""
        if self.position + 8 * count > self._limit:
            raise BadHeader("it ends in the middle of its header")
        self.work.spend(count)
        unpack = struct.Struct("<Q").unpack_from
        while count:
            self._need(8)
            chunk, at, last = self._chunk, self._at, len(self._chunk) - 8
            while count and at <= last:
                at += 8 + unpack(chunk, at)[0]
                count -= 1
            self._at = min(at, len(chunk))
            self.skip(at - self._at)

    def skip_to_next_name(self, at_least: int) -> bool:
        """Move to where the next known name seems to start; False without moving if none is near enough."""
        start, chunk, at = self._start, self._chunk, self._at
        self.skip(at_least)
        overlap = b""
        while True:
            self._need(1)
            seen = overlap + self._chunk[self._at :]
            self.work.spend(len(seen) // _SEARCHED)
            places = [place for name in _NEXT_NAMES if (place := self._name_in(seen, name)) > 0]
            if places:
                self._at += min(places) - 8 - len(overlap)
                self._step_back()
                return True
            overlap = seen[-20:]
            self._at = len(self._chunk)
            if self.position >= self._limit:
                self._start, self._chunk, self._at = start, chunk, at
                self._stream.seek(start + len(chunk))
                return False

    def _name_in(self, seen: bytes, name: bytes) -> int:
        """Return where the name starts, after its length; -1 if it is not there."""
        place = seen.find(name)
        while place >= 0 and (place < 8 or seen[place - 7 : place] != _LENGTH_ZEROS):
            self.work.spend(4)
            place = seen.find(name, place + 1)
        return place

    def _step_back(self) -> None:
        if self._at < 0:
            self._start, self._chunk, self._at = self._start + self._at, b"", 0
            self._stream.seek(self._start)

    def _need(self, count: int) -> None:
        """Ensure that at least ``count`` bytes are buffered from here."""
        if self._at + count <= len(self._chunk):
            return
        if self.position + count > self._limit:
            raise BadHeader("it ends in the middle of its header")
        rest = self._chunk[self._at :]
        self._start, self._at = self.position, 0
        parts = [rest]
        wanted = max(count, _CHUNK) - len(rest)
        while wanted > 0 and (part := self._stream.read(wanted)):
            parts.append(part)
            wanted -= len(part)
        self._chunk = b"".join(parts)
        self.work.spend(len(self._chunk) // _READ)
        if len(self._chunk) < count:
            raise BadHeader("it ends in the middle of its header")
