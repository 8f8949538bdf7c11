"""Replaces a callable of a library, once, and keeps the original."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

MARK = "_zwaif_guard_of"


class UnknownTarget(Exception):
    """The library is not as expected; Z-Waif continues without this guard."""


def swap(owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]], needs: set[str]) -> None:
    """Replace ``owner.name`` with ``make(original)``, unless that was done before.

    Raises:
        UnknownTarget: it does not exist, or lacks a parameter in ``needs``.
    """
    original = getattr(owner, name, None)
    where = f"{getattr(owner, '__name__', owner)}.{name}"
    if original is None:
        raise UnknownTarget(f"{where} does not exist in the installed version")
    if hasattr(original, MARK):
        return
    missing = needs - set(inspect.signature(original).parameters)
    if missing:
        raise UnknownTarget(f"{where} of the installed version has no parameter {', '.join(sorted(missing))}")
    replacement = make(original)
    setattr(replacement, MARK, original)
    setattr(owner, name, replacement)


def restore(owner: Any, name: str) -> None:
    """Undo :func:`swap`, so that a test or benchmark leaves the library as it found it."""
    original = getattr(getattr(owner, name, None), MARK, None)
    if original is not None:
        setattr(owner, name, original)
