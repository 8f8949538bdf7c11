"""What the name of a GGUF file tells: which part of a split model it is, and how it is quantized."""

from __future__ import annotations

import re
from pathlib import Path

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_QUANTIZED = re.compile(
    r"[-._]((?:UD[-_])?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|F16|BF16|F32|FP16))$", re.IGNORECASE
)


def parts_of(path: Path) -> list[Path]:
    """Return every file of a split model in order, existing or not; just ``path`` if it is not split."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    stem = match["stem"]
    return [
        path.with_name(f"{stem}-{number:05}-of-{count:05}{path.suffix}") for number in range(1, min(count, 999) + 1)
    ]


def is_later_part(path: Path) -> bool:
    """Return whether this is a part of a split model other than the first, under which the model is listed."""
    match = _PART.fullmatch(path.name)
    return match is not None and int(match["number"]) != 1


def stem_of(name: str) -> str:
    """Return a GGUF file's name without extension and part number."""
    match = _PART.fullmatch(name)
    return match["stem"] if match else re.sub(r"\.gguf$", "", name, flags=re.IGNORECASE)


def quantization_in(stem: str) -> str:
    """Return the quantization in a file's name, in upper case; empty if there is none."""
    match = _QUANTIZED.search(stem)
    return match[1].upper() if match else ""
