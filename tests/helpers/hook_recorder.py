"""A plugin with every hook, installed beside the stand-in host: it writes down each call and answers nothing.

Some hooks are called from different threads, in no fixed order. For two messages the recorder fixes it: it returns from
``on_primary_failure`` only after another hook was called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zwaif_hooks.messages import AnswerRecord, ChatRequest, Message, ModelInfo, PrimaryFailure
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.turn_log import BY_PRIMARY, TurnRecord

CALLS = "Hooks.txt"
"""The calls, one a line, in the host's folder."""
STORY, SLOW = "Tell me a story.", "Take your time."
HELD_UNTIL = {STORY: "primary_failed", SLOW: "say_while_waiting"}
"""Messages, and the hook that ``on_primary_failure`` waits for."""
WAIT = 60.0
"""Seconds. If the hook is never called, the recorded order shows it."""


class Recorder:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._came = {hook: threading.Event() for hook in HELD_UNTIL.values()}

    def _note(self, hook: str, detail: str = "") -> None:
        with self._lock, Path(CALLS).open("a", encoding="utf-8") as file:
            file.write(f"{hook}{detail and ': '}{detail}\n")
        if hook in self._came:
            self._came[hook].set()

    @hookimpl
    def register_settings(self) -> None:
        self._note("register_settings")

    @hookimpl
    def register_engines(self) -> None:
        self._note("register_engines")

    @hookimpl
    def zwaif_started(self, host: Any) -> None:
        self._note("zwaif_started")

    @hookimpl
    def register_settings_ui(self, gradio: Any, host: Any) -> None:
        self._note("register_settings_ui")

    @hookimpl
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> None:
        self._note("on_primary_failure", f"{failure.kind.value} after {failure.delivered!r}")
        for words, hook in HELD_UNTIL.items():
            if words in request.messages[-1].content:
                self._came[hook].wait(WAIT)

    @hookimpl
    def say_while_waiting(self, request: ChatRequest, failure: PrimaryFailure) -> None:
        self._note("say_while_waiting")

    @hookimpl
    def prompt_format(self) -> None:
        self._note("prompt_format")

    @hookimpl
    def format_prompt(self, messages: Sequence[Message], model: ModelInfo, partial: str) -> None:
        self._note("format_prompt")

    @hookimpl
    def before_request(self, request: ChatRequest) -> None:
        self._note("before_request")

    @hookimpl
    def will_answer(self, request: ChatRequest | None, failure: PrimaryFailure | None) -> None:
        self._note("will_answer")

    @hookimpl
    def sentence_spoken(self, text: str, by: str) -> None:
        self._note("sentence_spoken", by)

    @hookimpl
    def turn_finished(self, record: TurnRecord) -> None:
        self._note("turn_finished", BY_PRIMARY if record.answered_by == BY_PRIMARY else "another")

    @hookimpl
    def fallback_answered(self, record: AnswerRecord) -> None:
        self._note("fallback_answered", record.plugin)

    @hookimpl
    def primary_answered(self, primary: str, describe: Callable[[], ChatRequest], reply: str) -> None:
        self._note("primary_answered", reply)

    @hookimpl
    def primary_late(self, primary: str, describe: Callable[[], ChatRequest], delivered: str) -> None:
        self._note("primary_late", f"after {delivered!r}")

    @hookimpl
    def primary_failed(self, primary: str, failure: PrimaryFailure) -> None:
        self._note("primary_failed", failure.kind.value)

    @hookimpl
    def primary_recovered(self, primary: str, outage_seconds: float) -> None:
        self._note("primary_recovered")

    @hookimpl
    def zwaif_stopping(self) -> None:
        self._note("zwaif_stopping")


recorder = Recorder()
