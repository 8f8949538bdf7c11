"""What the console says about a failure of the LLM server: what happened, and what the user can do.

``PrimaryFailure.cause`` is for the log file, the turn records and whoever debugs.
"""

from __future__ import annotations

from typing import Protocol

from zwaif_hooks.messages import FailureKind


class Failure(Protocol):
    """What the messages need of a ``PrimaryFailure`` or ``PrimaryError``."""

    @property
    def kind(self) -> FailureKind: ...

    @property
    def said(self) -> str: ...

    @property
    def status(self) -> int | None: ...


WHAT = {
    FailureKind.REFUSED: "is down",
    FailureKind.CONNECT_TIMEOUT: "did not accept the connection in time",
    FailureKind.FIRST_TOKEN_TIMEOUT: "did not answer in time",
    FailureKind.STALLED: "stopped in the middle of its reply",
    FailureKind.CUT: "broke off its reply",
    FailureKind.HTTP_ERROR: "answered with an error",
    FailureKind.RATE_LIMITED: "asks for a pause",
    FailureKind.MISCONFIGURED: "refused the request",
    FailureKind.NO_MODEL: "has no model loaded",
    FailureKind.ERROR_BODY: "answered with an error",
    FailureKind.UNREADABLE: "sent something that is not a reply",
    FailureKind.EMPTY: "sent an empty reply",
    FailureKind.OPEN: "is not back yet",
    FailureKind.UNKNOWN: "failed",
}
"""What the server did, to be written after its name."""

_CHECK_WINDOW = "Its own window says more"
REMEDY = {
    FailureKind.REFUSED: "Start it, or check its address in Z-Waif's .env",
    FailureKind.CONNECT_TIMEOUT: "If it stays so, restart it, or check its address in Z-Waif's .env",
    FailureKind.FIRST_TOKEN_TIMEOUT: "If it stays so, restart it",
    FailureKind.STALLED: "If it stays so, restart it",
    FailureKind.CUT: _CHECK_WINDOW,
    FailureKind.HTTP_ERROR: _CHECK_WINDOW,
    FailureKind.RATE_LIMITED: "It is asked again when the pause is over",
    FailureKind.MISCONFIGURED: "Check the address, the model's name and the key in Z-Waif's .env",
    FailureKind.NO_MODEL: "Load one there (text-generation-webui: Model tab; LM Studio: Developer tab or `lms load`)",
    FailureKind.ERROR_BODY: _CHECK_WINDOW,
    FailureKind.UNREADABLE: "Another program may be listening there: check the address in Z-Waif's .env",
    FailureKind.EMPTY: _CHECK_WINDOW,
    FailureKind.UNKNOWN: "The log has the details",
}
"""What the user can do."""

QUOTED = frozenset({FailureKind.HTTP_ERROR, FailureKind.ERROR_BODY, FailureKind.MISCONFIGURED})
"""Failures for which the server's own words tell the user more."""
REFUSED_AS_ASKED = frozenset({400, 422})
"""Status of a server that cannot take the request as it is."""


def what(failure: Failure) -> str:
    """Return ``is down``, ``answered with an error (CUDA out of memory)`` …, to be written after the server's name."""
    said = failure.said or (f"HTTP {failure.status}" if failure.status else "")
    return f"{WHAT[failure.kind]} ({said})" if said and failure.kind in QUOTED else WHAT[failure.kind]


def remedy(failure: Failure) -> str:
    """Return what the user can do, as a sentence without its full stop; empty if there is nothing to do."""
    if failure.kind is FailureKind.MISCONFIGURED and failure.status in REFUSED_AS_ASKED:
        return "Its words say what to change (a preset, a character, an address)"
    return REMEDY.get(failure.kind, "")
