"""Translates the sampling parameters of Z-Waif's three kinds of server into one form."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from zwaif_hooks import log
from zwaif_hooks.host import yaml_file
from zwaif_hooks.messages import Backend, Sampling

_SAME_NAMES = tuple(field.name for field in fields(Sampling))
_OOBABOOGA = {name: name for name in _SAME_NAMES} | {"repetition_penalty_range": "repetition_range"}
_OLLAMA = {name: name for name in _SAME_NAMES if not name.startswith("repetition")} | {
    "repeat_penalty": "repetition_penalty",
    "repeat_last_n": "repetition_range",
}
_LMSTUDIO = {
    "temperature": "temperature",
    "topPSampling": "top_p",
    "topKSampling": "top_k",
    "minPSampling": "min_p",
    "repeatPenalty": "repetition_penalty",
}
_NAMES: dict[Backend, dict[str, str]] = {"oobabooga": _OOBABOOGA, "ollama": _OLLAMA, "lmstudio": _LMSTUDIO}
"""Name in the request → field of ``Sampling``."""
_LONGEST_NUMBER = 40
_LARGEST = 2.0**63
"""Larger numbers are invalid: seeds are signed and have at most 64 bits."""
_WHOLE = frozenset({"top_k", "repetition_range", "seed"})


def sampling_from(backend: Backend, request_fields: Mapping[str, Any] | None, tree: Path | None) -> Sampling:
    """Return the sampling in a request: Oobabooga's JSON body, Ollama's ``options``, or LM Studio's ``config``.

    An Oobabooga body names a preset on the server. Z-Waif's ``OOBA_Presets`` folder has the original, and fields in the
    body override it. Anything unreadable is ignored.
    """
    given = dict(request_fields) if isinstance(request_fields, Mapping) else {}
    if backend == "oobabooga":
        stated = {key: value for key, value in given.items() if value is not None}
        given = {**_preset(given.get("preset"), tree), **stated}
    values: dict[str, Any] = {}
    for theirs, ours in _NAMES[backend].items():
        number = _number(given.get(theirs), whole=ours in _WHOLE)
        if number is not None:
            values[ours] = number
    return Sampling(**_settle(backend, values))


def changed_fields(backend: Backend, before: Sampling, after: Sampling) -> dict[str, Any]:
    """Return what differs, under the names of the request. None means that the field is to be left out."""
    names = {ours: theirs for theirs, ours in _NAMES[backend].items()}
    changed = {name: getattr(after, name) for name in _SAME_NAMES if getattr(after, name) != getattr(before, name)}
    return {names[name]: value for name, value in changed.items() if name in names}


def _settle(backend: Backend, values: dict[str, Any]) -> dict[str, Any]:
    """Translate two special values: a negative seed means any seed, Ollama's range 0 means no penalty."""
    if values.get("seed", 0) < 0:
        del values["seed"]
    if backend == "ollama" and values.get("repetition_range") == 0:
        del values["repetition_range"]
        values["repetition_penalty"] = 1.0
    return values


def _preset(name: object, tree: Path | None) -> dict[str, Any]:
    """Return the contents of ``OOBA_Presets/<name>.yaml``; empty if there is no such file."""
    if tree is None or not isinstance(name, str) or not name or name != Path(name).name:
        return {}
    path = Path(tree, "OOBA_Presets", f"{name}.yaml")
    if not path.is_file():
        return {}
    try:
        return {key: _as_number(value) for key, value in yaml_file.read(path).items()}
    except yaml_file.Unreadable as problem:
        log.say_once(f"preset {path}", f"{problem} The model's own way of picking words is used.")
        return {}


def _as_number(value: Any) -> Any:
    """Convert a YAML text to a number if it is one."""
    if not isinstance(value, str) or len(value) > _LONGEST_NUMBER:
        return value
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(value)
    return value


def _number(value: object, *, whole: bool) -> float | int | None:
    """Return a number that a sampler accepts, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
        return None
    return int(value) if whole else float(value)
