"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "problem", "skipped"]
"""``problem``: the fallback or Z-Waif will not work, or not as told to. ``warning``: it works, but worse than it could.
``skipped``: there is nothing to look at, ``found`` says why."""


@dataclass(frozen=True)
class Finding:
    """One line for the user, and what to do about it."""

    state: State
    found: str
    meaning: str = ""
    """What follows from it. Never empty for a warning or a problem."""
    remedy: str = ""
    """What to do, in words that can be typed or clicked. Never empty for a warning or a problem."""
    details: tuple[str, ...] = ()
    """More lines, where there is more than one thing of the kind."""


def ok(found: str) -> Finding:
    return Finding("ok", found)


def skipped(found: str) -> Finding:
    return Finding("skipped", found)
