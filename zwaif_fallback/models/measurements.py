"""Results of ``zwaif-fallback bench``, kept per user for the lists of models.

They are in ``benchmarks.json`` in the user's data folder; only the latest measurement of each model is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from zwaif_hooks.storage import bounded, files

FILE = "benchmarks.json"


@dataclass(frozen=True)
class Measurement:
    """One run of ``zwaif-fallback bench``; seconds and bytes."""

    model: str
    """As it was loaded: a hub id, or the path of a folder or file."""
    measured_at: float
    """Seconds since 1970."""
    engine: str
    device: str
    form: str
    """Quantization, or else the number format: ``4bit``, ``bfloat16``, ``Q4_K_M`` …"""
    load_seconds: float
    prompt_tokens: int
    """Length of the prompt used for the first-token times."""
    first_token_cold: float
    """Time to the first text with nothing of the prompt in the cache."""
    first_token_warm: float
    """Time to the first text of the next turn of the same conversation."""
    tokens_per_second: float
    """Generation speed after the first token; 0 if the reply was too short to tell."""
    peak_memory: int
    """Peak RAM of the worker process."""
    graphics_memory: int = 0
    """Memory of the card in use after loading; 0 without a card."""
    load_steps: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Seconds of each step of the load, in order."""


def path() -> Path:
    """Return the file, existing or not."""
    import platformdirs

    return Path(platformdirs.user_data_dir("zwaif-fallback", appauthor=False)) / FILE


def read(place: Path | None = None) -> dict[str, Measurement]:
    """Return the latest measurement of each model by name, without entries that cannot be read."""
    try:
        stored = bounded.read_json(place or path())
    except (OSError, ValueError):  # none yet, or damaged
        return {}
    found = [_measurement(entry) for entry in stored] if isinstance(stored, list) else []
    return {one.model: one for one in found if one is not None}


def remember(one: Measurement, place: Path | None = None) -> Path:
    """Store a measurement, replacing an older one of that model; return the file.

    A damaged file is kept beside the new one, as ``benchmarks.json.damaged``.

    Raises:
        OSError: it cannot be written.
    """
    target = place or path()
    with files.locked(target):
        known = read(target)
        if not known and target.exists() and target.read_bytes().strip() not in (b"", b"[]"):
            files.replace(target, target.with_name(target.name + ".damaged"))
        known.pop(one.model, None)
        entries = [asdict(entry) for entry in (*known.values(), one)]
        files.write_atomically(target, json.dumps(entries, indent=1).encode("ascii"))
    return target


def _measurement(entry: Any) -> Measurement | None:
    """Build a measurement from a stored entry; ``None`` if another version stored something else."""
    if not isinstance(entry, Mapping):
        return None
    known = {one.name: entry[one.name] for one in fields(Measurement) if one.name in entry}
    try:
        made = Measurement(**known)
    except TypeError:
        return None
    values = {name: value for name, value in vars(made).items() if name not in ("model", "engine", "device", "form")}
    steps = values.pop("load_steps")
    numbers = [*values.values(), *(steps.values() if isinstance(steps, dict) else [None])]
    return made if all(isinstance(value, (int, float)) for value in numbers) else None
