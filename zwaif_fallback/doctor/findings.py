"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "skipped"]
"""``problem``: the fallback or Z-Waif will not work, or not as set. ``warning``: it works, but worse than it could.
``skipped``: there is nothing to check; ``found`` says why."""


@dataclass(frozen=True)
class Finding:
    """What a check found, what it means, and what to do about it."""

    state: State
    found: str
    meaning: str = ""
    """The consequence. Never empty for a warning or a problem."""
    remedy: str = ""
    """What to type or click. Never empty for a warning or a problem."""
    details: tuple[str, ...] = ()
    """More findings of the same kind, one line each."""


def ok(found: str) -> Finding:
    return Finding("ok", found)


def skipped(found: str) -> Finding:
    return Finding("skipped", found)
