"""A running set of guards without a Z-Waif: real libraries, real sockets, a scripted plugin, a quick clock."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.fault_server import FaultServer
from zwaif_hooks.failover import deadlines, probe
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, FailureKind, PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.testing.fault_talk import Silence

PATIENT = 1e6
"""Seconds on the quick clock: nothing is late, however busy the machine."""
IMPATIENT = 15.0


class QuickClock:
    """A clock on which ``speed`` seconds pass in one: deadlines of seconds are met in milliseconds."""

    def __init__(self, speed: float = 100.0) -> None:
        self.speed = speed
        self._seconds: Callable[[], float] = time.monotonic
        self._before = 0.0

    def pass_only_in(self, silence: Silence) -> None:
        """From now on time stands still but while ``silence`` lasts: a busy machine makes nobody late."""
        self._before = self._seconds() + self._before - silence.seconds()
        self._seconds = silence.seconds

    def now(self) -> float:
        return (self._seconds() + self._before) * self.speed

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        return condition.wait_for(predicate, max(0.0, timeout / self.speed))

    def real(self, seconds: float) -> float:
        return max(0.001, seconds / self.speed)


class ScriptedPlugin:
    """Answers with ``pieces`` and remembers what it was asked and told."""

    def __init__(self) -> None:
        self.pieces: Any = ["Local ", "text ", "goes on."]
        self.asked: list[tuple[ChatRequest, PrimaryFailure]] = []
        self.records: list[AnswerRecord] = []
        self.outages: list[PrimaryFailure] = []
        self.recovered = threading.Event()

    @hookimpl
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> Any:
        self.asked.append((request, failure))
        answer = self.pieces() if callable(self.pieces) else self.pieces
        # It has no deadline of its own, as a busy machine may need longer than one on the quick clock lasts.
        return Answer(answer, "scripted", keeps_time=True) if isinstance(answer, Iterable) else answer

    @hookimpl
    def fallback_answered(self, record: AnswerRecord) -> None:
        self.records.append(record)

    @hookimpl
    def primary_failed(self, primary: str, failure: PrimaryFailure) -> None:
        self.outages.append(failure)

    @hookimpl
    def primary_recovered(self, primary: str, outage_seconds: float) -> None:
        self.recovered.set()


class Guarded(SimpleNamespace):
    """What a test works with: ``runtime``, ``plugin``, ``settings``, and the lines said to the user in ``lines``."""


def begin_outage(guarded: Guarded, address: str) -> None:
    """As after a failure of which the neutral question said that it is the server's own."""
    guarded.runtime.primaries.get(address)._open(PrimaryFailure(FailureKind.HTTP_ERROR, "broken"))


def hurry(guarded: Guarded, server: FaultServer, name: str = "") -> None:
    """``server`` (the primary ``name``, where that is not its address) has a short time to answer. It passes only while
    ``server`` is silent on purpose. The plugins' deadlines stay as they are."""
    guarded.clock.pass_only_in(server.silence)
    _wait_for(guarded, name or server.address, IMPATIENT)


def be_patient(guarded: Guarded, server: FaultServer) -> None:
    """It is not late any more."""
    _wait_for(guarded, server.address, PATIENT)


def _wait_for(guarded: Guarded, name: str, seconds: float) -> None:
    waited_for = guarded.runtime.primaries.get(name)
    waited_for.first_token.deadline = lambda *_: seconds
    waited_for.pauses.deadline = lambda *_: seconds


def outage_begun(guarded: Guarded) -> bool:
    """Wait for the neutral question after a failure, which is asked in the background."""
    for _ in range(2000):
        if guarded.plugin.outages:
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guarded]:
    lines: list[str] = []
    for name in (
        "SHORTEST_WAIT",
        "SHORTEST_PAUSE",
    ):  # for the machine's own hiccups, which the quick clock does not shorten
        monkeypatch.setattr(deadlines, name, getattr(deadlines, name) * QuickClock().speed)
    for name in ("CHECK_SECONDS", "END_MARK_SECONDS"):
        monkeypatch.setattr(probe, name, getattr(probe, name) * QuickClock().speed)

    def report(line: str, _: BaseException | None = None) -> None:
        lines.append(line)

    settings = {
        "API_FALLBACK_ENABLED": True,
        "API_FALLBACK_CONNECT_TIMEOUT": 2.0,
        "API_FALLBACK_FIRST_TOKEN_TIMEOUT": PATIENT,
        "API_FALLBACK_STALL_TIMEOUT": PATIENT,
        "API_FALLBACK_SILENCE_LIMIT": 12.0,
    }
    store = SimpleNamespace(get=settings.__getitem__, reload=lambda: None)
    plugins = PluginManager(report)
    plugin = ScriptedPlugin()
    assert plugins.register(plugin, "scripted")
    clock = QuickClock()

    def changed(name: str, failure: PrimaryFailure | None, seconds: float) -> None:
        if failure is not None:
            plugins.hook.primary_failed(primary=name, failure=failure)
        else:
            plugins.hook.primary_recovered(primary=name, outage_seconds=seconds)

    primaries = PrimaryRegistry(changed, clock)
    runtime = Runtime(tmp_path, store, plugins, primaries, lines.append, report, clock)
    yield Guarded(runtime=runtime, plugin=plugin, settings=settings, lines=lines, clock=clock)
    primaries.shut_down()
