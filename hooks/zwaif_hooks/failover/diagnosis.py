"""Finds out, after a reply was taken over, whether the server is at fault or only the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zwaif_hooks.background.thread_cache import threads
from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.messages import FailureKind, PrimaryFailure

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

UNEXPLAINED = frozenset({FailureKind.CUT, FailureKind.EMPTY})
"""Failures that say nothing about their cause."""
ASK_AGAIN_SECONDS = 60.0
"""Between two times that a server is asked why it failed, as that sends the same request once more."""

Why = Callable[[], "PrimaryFailure | None"]
"""Asks the server what was wrong with the request that failed. Slow: call it in a background thread."""


def diagnose(runtime: Runtime, primary: Primary, failure: PrimaryFailure, why: Why | None) -> None:
    """Ask why the request failed, if nothing says so, then let the breaker probe the server. Returns at once.

    The probe alone decides about the server. What is found out about one request is reported once and forgotten.
    """

    def work() -> None:
        reason = None
        try:
            if why is not None and _is_worth_asking(runtime, primary, failure):
                reason = why()
        except Exception as error:
            runtime.report(f"Could not find out why {primary.name} failed", error)
        if reason is not None and reason.kind is FailureKind.NO_MODEL and primary.failed(reason):
            return
        primary.check(reason or failure)
        if reason is not None and not primary.is_open:
            runtime.say(f"{primary.name} {failure_messages.what(reason)}. {failure_messages.remedy(reason)}")

    threads.run(work)


def _is_worth_asking(runtime: Runtime, primary: Primary, failure: PrimaryFailure) -> bool:
    """Ask once a minute, and again after each recovery, about failures without a word and without a cause."""
    if failure.delivered or failure.kind not in UNEXPLAINED:
        return False
    now, asked_at = runtime.clock.now(), runtime.asked_why.get(primary.name)
    if asked_at is not None and now - asked_at < ASK_AGAIN_SECONDS and not primary.recovered_since(asked_at):
        return False
    runtime.asked_why[primary.name] = now
    return True
