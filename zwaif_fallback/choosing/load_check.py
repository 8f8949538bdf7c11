"""Check whether a model on this computer can be loaded now: its files, the memory, and the installed engines."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import Constraints
from zwaif_fallback.choosing.memory_fit import NO_ENGINE, TOO_BIG, Fit, abilities, fit
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.hardware import memory_now
from zwaif_fallback.models import plugin_engines
from zwaif_fallback.models.error_hints import SMALLER
from zwaif_fallback.models.facts import GGUF, ModelFacts
from zwaif_fallback.models.model_files import check_folder, gguf_in, read_facts
from zwaif_fallback.models.safetensors_facts import read_folder

NO_TORCH = "PyTorch is not installed in this environment. Run this with the Python of Z-Waif's own environment."


def why_not(model: str, constraints: Constraints) -> str:
    """Return why a model cannot be loaded and what to do; empty if it can. Nothing is loaded.

    Args:
        model: a path, the name of a plugin's model, or a hub id whose files are here.
    """
    if (declared := plugin_engines.find(model)) is not None:
        return _no_room(fit(declared.facts, memory_now(), **constraints.load_settings))
    place = Path(model) if Path(model).is_absolute() else resolve_name.cached_snapshot(model)
    try:
        return _why_not(place, constraints) if place is not None else str(resolve_name.not_here(model))
    except FallbackError as error:
        return str(error)
    except (OSError, ValueError) as error:  # from the header readers
        return f"{place} cannot be read ({error}). Download the model again."


def _why_not(place: Path, constraints: Constraints) -> str:
    facts = _facts(place)
    how = fit(facts, memory_now(), **constraints.load_settings, can=abilities())
    if facts.problem:
        return f"{facts.problem}. Choose another: zwaif-fallback models lists some."
    if facts.format != GGUF and importlib.util.find_spec("torch") is None:
        return NO_TORCH
    if how.verdict == NO_ENGINE:
        return f"It {NO_ENGINE}"
    return _no_room(how)


def _no_room(how: Fit) -> str:
    if how.verdict != TOO_BIG:
        return ""
    return f"It needs {how.need.total / 1e9:.1f} GB, and {memory_now().ram_free / 1e9:.1f} GB are free now. {SMALLER}"


def _facts(place: Path) -> ModelFacts:
    """Return the facts of complete files.

    Raises:
        FallbackError: they are not complete.
    """
    if file := gguf_in(place):
        return read_facts(file)
    check_folder(place)
    return read_folder(place)
