"""What the name of a GGUF file says: whether it is one part of a split model, and how it is quantized."""

from __future__ import annotations

import re
from pathlib import Path

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)
_QUANTIZED = re.compile(
    r"[-._]((?:UD[-_])?(?:I?Q\d(?:_[A-Z0-9]+)*|TQ\d_\d|MXFP4(?:_MOE)?|F16|BF16|F32|FP16))$", re.IGNORECASE
)


def parts_of(path: Path) -> list[Path]:
    """Every file of a split model in order, whether they are there or not; the file itself where it is not split."""
    match = _PART.fullmatch(path.name)
    if match is None:
        return [path]
    count = int(match["count"])
    stem = match["stem"]
    return [
        path.with_name(f"{stem}-{number:05}-of-{count:05}{path.suffix}") for number in range(1, min(count, 999) + 1)
    ]


def is_later_part(path: Path) -> bool:
    """Whether this is a part of a split model that is shown under its first part."""
    match = _PART.fullmatch(path.name)
    return match is not None and int(match["number"]) != 1


def stem_of(name: str) -> str:
    """A GGUF file's name without ending and without the count of its parts."""
    match = _PART.fullmatch(name)
    return match["stem"] if match else re.sub(r"\.gguf$", "", name, flags=re.IGNORECASE)


def quantization_in(stem: str) -> str:
    """The quantization that a file's name tells, upper case; empty where it tells none."""
    match = _QUANTIZED.search(stem)
    return match[1].upper() if match else ""
