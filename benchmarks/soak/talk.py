"""The four who talk, and what is true of each of their turns."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass, field
from typing import Any

import requests

from zwaif_hooks.messages import AnswerRecord, PrimaryFailure
from zwaif_hooks.specs import hookimpl

CALLERS = ("Gradio", "Microphone", "Discord", "Minecraft")
QUESTIONS = (
    "Hello!", "How are you?", "What is your name?", "Where do you live?", "Are you real?", "What can you do?",
    "What did you do today?", "I feel sad", "Tell me a story", "Good morning", "How old are you?", "What do you think?",
)  # fmt: skip
REMEMBERED = 2
"""Exchanges that are sent along with a question."""
THINKING_SECONDS = 0.4
"""At most, between a reply and the next question."""
SHORTEST = 3
SEAM = 12
"""Characters that may not be said twice around a takeover; shorter coincidences happen in plain English."""


@dataclass
class Said:
    """One turn, as its caller saw it."""

    tag: str
    messages: list[dict[str, str]]
    stream: bool
    text: str = ""
    error: str = ""


@dataclass
class Takeovers:
    """A plugin that only listens."""

    records: dict[str, AnswerRecord] = field(default_factory=dict)
    switches: int = 0

    @hookimpl
    def fallback_answered(self, record: AnswerRecord) -> None:
        self.records[record.request.model] = record

    @hookimpl
    def primary_failed(self, primary: str, failure: PrimaryFailure) -> None:
        self.switches += 1

    @hookimpl
    def primary_recovered(self, primary: str, outage_seconds: float) -> None:
        self.switches += 1


class Caller:
    """One user: asks, reads, remembers, asks again."""

    def __init__(self, name: str, address: str, seed: int) -> None:
        self.name = name
        self._url = f"http://{address}/v1/chat/completions"
        self._random = random.Random(f"{seed}{name}")
        self._history: list[dict[str, str]] = []
        self._asked = 0

    def turn(self) -> Said:
        threading.Event().wait(self._random.uniform(0, THINKING_SECONDS))
        self._asked += 1
        question = {"role": "user", "content": self._random.choice(QUESTIONS)}
        messages = [*self._history[-2 * REMEMBERED :], question]
        said = Said(f"{self.name}-{self._asked}", messages, stream=self._random.random() < 0.7)
        try:
            said.text = ask(self._url, messages, said.stream, model=said.tag)
        except Exception as error:  # every one counts against us
            said.error = repr(error)
        self._history += [question, {"role": "assistant", "content": said.text}]
        return said


def ask(url: str, messages: list[dict[str, str]], stream: bool, model: str, **more: Any) -> str:
    """As Z-Waif asks, with greedy sampling."""
    body = {"messages": messages, "max_tokens": 60, "temperature": 0, "repetition_penalty": 1.0, "stream": stream}
    response = requests.post(url, json={**body, "model": model}, stream=stream, **more)
    if not stream:
        return str(response.json()["choices"][0]["message"]["content"])
    text = ""
    for line in response.iter_lines():
        if line.startswith(b"data: {"):
            text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
    return text


class Verdict:
    """Counts what went wrong. ``judge`` is called by the callers' threads."""

    def __init__(self, takeovers: Takeovers) -> None:
        self._takeovers = takeovers
        self._lock = threading.Lock()
        self.turns: list[Said] = []
        self.lost = self.doubled = self.mixed = self.exceptions = 0
        self.faults: list[str] = []

    def judge(self, said: Said) -> int:
        """Returns how many turns were judged so far."""
        record = self._takeovers.records.get(said.tag)
        with self._lock:
            self.turns.append(said)
            if said.error:
                self._note("exceptions", said, said.error)
            elif len(said.text.strip()) < SHORTEST:
                self._note("lost", said, "no reply")
            if record is not None and not said.error:
                self._judge_takeover(said, record)
            return len(self.turns)

    def compare(self, said: Said, reference: str) -> None:
        """What the server gave must be what it says to that, once and in order; ``reference`` is that reply."""
        record = self._takeovers.records.get(said.tag)
        from_server = said.text if record is None else record.failure.delivered
        if from_server != reference if record is None else not reference.startswith(from_server):
            self._note("mixed", said, f"the server would have said {reference!r}")

    def _judge_takeover(self, said: Said, record: AnswerRecord) -> None:
        delivered, added = record.failure.delivered, record.text
        if [(m.role, m.content) for m in record.request.messages] != [tuple(m.values()) for m in said.messages]:
            self._note("mixed", said, "another conversation was answered")
        if said.text != delivered + added:
            self._note("doubled", said, f"{delivered!r} + {added!r} is not what arrived")
        elif repeated(delivered, added):
            self._note("doubled", said, f"{delivered!r} | {added!r}")

    def _note(self, what: str, said: Said, detail: str) -> None:
        setattr(self, what, getattr(self, what) + 1)
        self.faults.append(f"{what}: {said.tag}: {said.text!r}: {detail}")


def repeated(delivered: str, added: str) -> bool:
    """Does the continuation begin with the end of what was said already?"""
    begins = added.lstrip()
    longest = min(len(delivered), len(begins))
    return any(delivered.endswith(begins[:size]) for size in range(SEAM, longest + 1))
