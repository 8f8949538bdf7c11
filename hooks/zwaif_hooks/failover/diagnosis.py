"""Finding out, after a reply was taken over, whether it was the server or only the request that failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zwaif_hooks.background.thread_cache import readers
from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.messages import FailureKind, PrimaryFailure

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

Why = Callable[[], "PrimaryFailure | None"]
"""Asks the server what was wrong with the request it failed; slow, so it is called in a thread of ours."""


def look_into(runtime: Runtime, primary: Primary, failure: PrimaryFailure, why: Why | None) -> None:
    """Ask why, where nothing was said, and then a neutral question, which alone decides. Returns at once.

    What is found out about one request is told to the user and forgotten.
    """

    def look() -> None:
        reason = None
        try:
            if why is not None and primary.needs_explanation(failure):
                reason = why()
        except Exception as error:
            runtime.report(f"Why {primary.name} failed could not be found out", error)
        if reason is not None and reason.kind is FailureKind.NO_MODEL and primary.failed(reason):
            return
        primary.look(reason or failure)
        if reason is not None and not primary.is_open:
            runtime.say(f"{primary.name} {failure_messages.what(reason)}. {failure_messages.remedy(reason)}")

    readers.run(look)
