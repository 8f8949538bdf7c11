"""Test Fallback: shows a real reply as it is generated, who gave it, and how fast."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from zwaif_fallback.answering import who_speaks
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.ui.components import Components, text_of, without_folders
from zwaif_fallback.ui.service_protocol import Service
from zwaif_fallback.ui.setting_edits import LONGEST_INPUT
from zwaif_hooks import log

MESSAGE = "Hello! Can you hear me?"
NO_REPLY = "No reply."
WAITING = "Waiting for the first words \u2026"
_SHOW_AGAIN = 0.1
"""Seconds between two updates of the box: sending one takes longer than a small model needs for a piece."""


class TestReply:
    """What happens when Test Fallback is pressed."""

    def __init__(self, service: Service, model_to_test: Callable[[object], str], shown: Callable[[str], str]) -> None:
        """``model_to_test`` returns the model for a row of the list, ``shown`` a model's name for people."""
        self._service, self._model_to_test, self._shown = service, model_to_test, shown

    def stream(self, message: object, model: object = "") -> Iterator[str]:
        """Yield the growing reply, then who gave it and how fast; if it fails, why.

        ``model`` is the selected row of the list.
        """
        started = time.monotonic()
        yield WAITING
        try:
            yield from self._reply(text_of(message)[:LONGEST_INPUT] or MESSAGE, self._model_to_test(model), started)
        except FallbackError as error:
            yield without_folders(f"{NO_REPLY} {error}")
        except Exception as error:  # the test must show any failure
            log.report(f"The test of the fallback failed: {type(error).__name__}: {error}", error)
            yield without_folders(f"{NO_REPLY} The test failed: {type(error).__name__}: {error}")

    def _reply(self, message: str, model: str, started: float) -> Iterator[str]:
        answer, text, first, shown = self._service.test_reply(message, model), "", None, 0.0
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
            getattr(pieces, "close", lambda: None)()  # the page was closed: stop the generation
        who, whole = self._shown(answer.answered_by), time.monotonic() - started
        yield f"{text.strip()}\n\n{who_speaks.signature(who, first, whole)}".lstrip()


class TestReplyControls:
    """The message, its button and the reply."""

    def __init__(self, make: Components, test_reply: TestReply) -> None:
        self._test_reply = test_reply
        with make.row():
            self.message = make.text("Test Message", MESSAGE)
            self.button = make.button("Test Fallback")
        self.reply = make.view("Test Reply", "", lines=3)

    def wire(self, make: Components, model: Any) -> None:
        for event in (self.button.click, self.message.submit):
            make.on(
                event, self._test_reply.stream, [self.message, model], self.reply, shared_limit="zwaif_fallback_test"
            )
