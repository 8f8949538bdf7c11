"""One call of Z-Waif's client library as every guard describes it, and the two errors that end it without a reply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zwaif_hooks.failover.diagnosis import Why
from zwaif_hooks.failover.internal_errors import is_internal_error
from zwaif_hooks.messages import ChatRequest, PrimaryFailure
from zwaif_hooks.stream import PrimaryError, Source

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

AT_FAULT = "A fault in zwaif-fallback itself"


@dataclass(slots=True)
class Call:
    """What a guard knows about a call, and how it asks the primary."""

    primary: str
    """``host:port``"""
    open: Source
    """Ask the primary and read its reply. Started in any thread, continued in any other; raises PrimaryError."""
    probe: Source
    """Ask the primary for one token."""
    describe: Callable[[], ChatRequest]
    """Describe the request; called only if the primary failed or is late."""
    backend: str = ""
    prompt_chars: Callable[[], int] = int
    """Length of the prompt in characters: a long prompt gets more time to the first token."""
    why: Why | None = None
    """Find out why a reply ended without text and without a cause, if the server can be asked."""
    max_tokens: int = 0
    """Longest reply that was asked for, in tokens; 0 if the request names no limit."""
    direct: bool = False
    """``open`` heeds its ``CancelScope`` while no bytes come, so the waiting thread may read by itself."""
    named: bool = False
    """The primary's name must be resolved first, which nothing can interrupt."""


class NobodyAnswered(Exception):
    """The primary failed and no plugin answered: Z-Waif gets the error it would have got without this package."""

    def __init__(self, failure: PrimaryFailure, error: PrimaryError | None) -> None:
        super().__init__(failure.cause)
        self.failure = failure
        self.error = error

    def original(self) -> BaseException:
        """Return the client library's own exception, if it raised one."""
        original = self.error.original if self.error is not None else None
        return original if original is not None else ConnectionError(self.failure.cause)


class InternalError(Exception):
    """This package failed before the first text was passed on: the guard repeats Z-Waif's call without it."""


def must_repeat_unguarded(error: Exception, runtime: Runtime) -> bool:
    """Return whether ``error`` is this package's own, so that the guard must repeat Z-Waif's call without it."""
    if not isinstance(error, InternalError):
        if not is_internal_error(error):
            return False
        runtime.report(f"{AT_FAULT}: Z-Waif's request is sent without it", error)
    return True
