"""Test Fallback: a real reply as it is made, who gave it, and how fast."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from zwaif_fallback.errors import FallbackError
from zwaif_fallback.ui.changes import LONGEST_INPUT
from zwaif_fallback.ui.components import Components, text_of
from zwaif_fallback.ui.status import Service, Status
from zwaif_hooks.host import log

MESSAGE = "Hello! Can you hear me?"
NO_REPLY = "No reply."
_SHOW_AGAIN = 0.1
"""Seconds between two states of a reply: sending each piece to the page takes longer than a small model does."""


class Trial:
    """The test button."""

    def __init__(self, service: Service, status: Status) -> None:
        self._service, self._status = service, status

    def test(self, message: object) -> Iterator[tuple[str, str]]:
        """A reply as it grows, at its end who gave it and how fast; and the status."""
        started = time.monotonic()
        yield "", self._status.text()
        try:
            for reply in self._reply(text_of(message)[:LONGEST_INPUT] or MESSAGE, started):
                yield reply, self._status.text()
        except FallbackError as error:
            yield NO_REPLY, self._status.text(str(error))
        except Exception as error:  # the test is there to show what fails, whatever it is
            log.report(f"The test of the fallback failed: {type(error).__name__}: {error}", error)
            yield NO_REPLY, self._status.text(f"The test failed: {type(error).__name__}: {error}")

    def _reply(self, message: str, started: float) -> Iterator[str]:
        answer, text, first, shown = self._service.test_reply(message), "", None, 0.0
        pieces = iter(answer.pieces)
        try:
            for piece in pieces:
                text, now = text + piece, time.monotonic()
                if first is None and text.strip():
                    first = now - started
                if now - shown >= _SHOW_AGAIN:
                    shown = now
                    yield text.lstrip()
        finally:
            getattr(pieces, "close", lambda: None)()  # the page was closed: stop generating
        yield _signed(text.strip(), answer.answered_by, first, time.monotonic() - started)


class TrialControls:
    """The message, its button and the reply."""

    def __init__(self, make: Components, trial: Trial) -> None:
        self._trial = trial
        with make.row():
            self.message = make.text("Test Message", MESSAGE)
            self.button = make.button("Test Fallback")
        self.reply = make.view("Test Reply", "", lines=3)

    def wire(self, make: Components, status: Any) -> None:
        for event in (self.button.click, self.message.submit):
            make.on(event, self._trial.test, self.message, [self.reply, status], shared_limit="zwaif_fallback_test")


def _signed(text: str, who: str, first: float | None, whole: float) -> str:
    if first is None:
        return f"No text came from {who or 'anyone'} in {whole:.1f} s."
    return f"{text}\n\n[{who or 'unknown'}: first words after {first:.1f} s, all after {whole:.1f} s]"
