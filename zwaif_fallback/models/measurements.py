"""What models have shown on this machine: kept in a small JSON file of the user's, for the lists of models.

``benchmarks.json`` lies in the user's own folder for data; the last measurement of each model counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from zwaif_hooks.storage import bounded, files

FILE = "benchmarks.json"


@dataclass(frozen=True)
class Measurement:
    """One run of ``zwaif-fallback bench``. Seconds and bytes."""

    model: str
    """As it was loaded: a hub id, or the path of a folder or file."""
    measured_at: float
    """Seconds since 1970."""
    engine: str
    device: str
    form: str
    """Quantization, or the number format where there is none: ``4bit``, ``bfloat16``, ``Q4_K_M`` …"""
    load_seconds: float
    prompt_tokens: int
    """Length of the prompt that the first words were waited for."""
    first_token_cold: float
    """Until the first text, nothing of the prompt having been read before."""
    first_token_warm: float
    """Until the first text of the next turn of the same conversation."""
    tokens_per_second: float
    """While speaking, the wait for the first token not counted; 0 where the model said too little to tell."""
    peak_memory: int
    """Most that the worker process had of the computer's memory."""
    graphics_memory: int = 0
    """What the card had less of while the model was loaded; 0 without a card."""


def path() -> Path:
    """The file, there or not."""
    import platformdirs

    return Path(platformdirs.user_data_dir("zwaif-fallback", appauthor=False)) / FILE


def read(place: Path | None = None) -> dict[str, Measurement]:
    """The last measurement of each model, by its name; those that cannot be understood are left out."""
    try:
        stored = bounded.read_json(place or path())
    except (OSError, ValueError):  # none yet, or damaged: then it has nothing to tell
        return {}
    found = [_measurement(entry) for entry in stored] if isinstance(stored, list) else []
    return {one.model: one for one in found if one is not None}


def remember(one: Measurement, place: Path | None = None) -> Path:
    """Add a measurement, in the place of an older one of that model; the file it is in.

    A file that cannot be understood is kept beside the new one, as ``benchmarks.json.damaged``.

    Raises:
        OSError: it cannot be written.
    """
    target = place or path()
    with files.alone(target):
        known = read(target)
        if not known and target.exists() and target.read_bytes().strip() not in (b"", b"[]"):
            files.replace(target, target.with_name(target.name + ".damaged"))
        known.pop(one.model, None)
        entries = [asdict(entry) for entry in (*known.values(), one)]
        files.write_whole(target, json.dumps(entries, indent=1).encode("ascii"))
    return target


def _measurement(entry: Any) -> Measurement | None:
    """Made of a stored entry; ``None`` where a newer or older version stored something else."""
    if not isinstance(entry, Mapping):
        return None
    known = {field.name: entry[field.name] for field in fields(Measurement) if field.name in entry}
    try:
        made = Measurement(**known)
    except TypeError:
        return None
    numbers = (value for name, value in vars(made).items() if name not in ("model", "engine", "device", "form"))
    return made if all(isinstance(value, (int, float)) for value in numbers) else None
