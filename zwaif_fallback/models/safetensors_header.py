"""Read the header of a safetensors file: https://huggingface.co/docs/safetensors/index#format. Nothing is loaded."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any, NamedTuple

from zwaif_hooks.storage.bounded import MOST_BYTES, loads, open_plain

MOST_TENSORS = 20_000
"""In all files of one model. A mixture of 128 experts stored one by one has 18,000."""
_MOST_SIDES = 8
_MOST_ELEMENTS = 1 << 48


class BadSafetensors(ValueError):
    """Not a safetensors file, cut off, or too large to read; ``str(error)`` is one line."""


class StoredTensor(NamedTuple):
    name: str
    dtype: str
    """As in the file: ``BF16``, ``F32`` …"""
    shape: tuple[int, ...]
    elements: int
    size: int
    """Bytes."""


def read_tensors(path: Path) -> list[StoredTensor]:
    """Return every tensor of one file.

    Raises:
        BadSafetensors: it is not such a file, or it is cut off.
        OSError: it cannot be read.
    """
    file_size = path.stat().st_size
    with open_plain(path) as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else file_size + 1
        if length > file_size - 8:
            raise BadSafetensors(f"{path.name} is not a safetensors file, or is not complete")
        if length > MOST_BYTES:
            raise BadSafetensors(f"{path.name} has a header of {length / 1e6:.0f} MB, far too long")
        raw = stream.read(length)
    try:
        header = loads(raw)
        header.pop("__metadata__", None)
        tensors = [_tensor(name, entry) for name, entry in header.items()]
        end = max((entry["data_offsets"][1] for entry in header.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadSafetensors(f"{path.name} has a damaged header ({type(error).__name__})") from error
    if 8 + length + end > file_size:
        raise BadSafetensors(f"{path.name} is not complete: {file_size / 1e9:.2f} of {(8 + length + end) / 1e9:.2f} GB")
    return tensors


def _tensor(name: str, entry: Any) -> StoredTensor:
    start, end = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if len(shape) > _MOST_SIDES or not all(type(number) is int and number >= 0 for number in (start, end, *shape)):
        raise ValueError("invalid sizes")
    elements = math.prod(shape)
    if start > end or elements > _MOST_ELEMENTS:
        raise ValueError("impossible sizes")
    return StoredTensor(name, str(entry["dtype"])[:40], shape, elements, end - start)
