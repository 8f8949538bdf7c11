"""The header of a safetensors file: https://huggingface.co/docs/safetensors/index#format. Nothing is loaded."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_HEADER = 100_000_000
"""Bytes; the limit of the safetensors library itself."""


class BadSafetensors(ValueError):
    """No safetensors file, or cut off; ``str(error)`` is one line."""


@dataclass(frozen=True)
class StoredTensor:
    name: str
    dtype: str
    """As in the file: ``BF16``, ``F32`` …"""
    shape: tuple[int, ...]
    size: int
    """Bytes."""

    @property
    def elements(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count


def read_tensors(path: Path) -> list[StoredTensor]:
    """Every tensor of one file.

    Raises:
        BadSafetensors: it is no such file, or it ends too soon.
        OSError: it cannot be read.
    """
    file_size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else file_size + 1
        if length > min(file_size - 8, MAX_HEADER):
            raise BadSafetensors(f"{path.name} is no safetensors file, or it is not complete")
        raw = stream.read(length)
    try:
        header = json.loads(raw)
        tensors = [_tensor(name, entry) for name, entry in header.items() if name != "__metadata__"]
        end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise BadSafetensors(f"{path.name} has a damaged header ({type(error).__name__})") from error
    if 8 + length + end > file_size:
        raise BadSafetensors(f"{path.name} is not complete: {file_size / 1e9:.2f} of {(8 + length + end) / 1e9:.2f} GB")
    return tensors


def _tensor(name: str, entry: Any) -> StoredTensor:
    start, end = entry["data_offsets"]
    shape = tuple(int(side) for side in entry["shape"])
    if not 0 <= start <= end or any(side < 0 for side in shape):
        raise ValueError("negative sizes")
    return StoredTensor(name, str(entry["dtype"]), shape, int(end) - int(start))
