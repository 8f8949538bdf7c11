"""Finding out, after the reply was taken over, why the primary failed without saying so."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zwaif_hooks import words
from zwaif_hooks.messages import PrimaryFailure
from zwaif_hooks.primary import Primary
from zwaif_hooks.threads import readers

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

Why = Callable[[], "PrimaryFailure | None"]
"""Asks the server what was wrong with the request it failed; slow, so it is called in a thread of ours."""


def explain(runtime: Runtime, primary: Primary, failure: PrimaryFailure, why: Why | None) -> None:
    """Learn why, at most once in an outage, and tell the user once. Returns at once."""
    if why is None or not primary.needs_explanation(failure):
        return

    def learn() -> None:
        try:
            reason = why()
            if reason is not None and not primary.explained(reason, why):
                runtime.say(f"{primary.name} {words.what(reason)}. {words.remedy(reason)}")
        except Exception as error:
            runtime.report(f"Why {primary.name} failed could not be found out", error)

    readers.run(learn)
