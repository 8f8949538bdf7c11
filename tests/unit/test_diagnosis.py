"""A failure that says nothing about itself: asked about once, told once, and a neutral question decides."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from zwaif_hooks.background import thread_cache
from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.failover.diagnosis import ASK_AGAIN_SECONDS, UNEXPLAINED, diagnose
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError

CUT = PrimaryFailure(FailureKind.CUT, "cut")
REFUSES = PrimaryFailure(FailureKind.MISCONFIGURED, "refuses the request: no such preset", status=400)
NO_MODEL = PrimaryFailure(FailureKind.NO_MODEL, "no model is loaded")


class Told(SimpleNamespace):
    """``lines``, ``reports`` of internal errors, ``outages``, the ``clock``; ``speaks``: whether the server answers."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    monkeypatch.setattr("zwaif_hooks.failover.probe.listens", lambda name: True)
    monkeypatch.setattr("zwaif_hooks.failover.diagnosis.threads", SimpleNamespace(run=lambda job: job()))
    outages: list[PrimaryFailure | None] = []
    clock: Any = SimpleNamespace(time=1000.0)
    clock.now = lambda: clock.time
    primary = Primary("127.0.0.1:5000", lambda name, failure, seconds: outages.append(failure))
    lines: list[str] = []
    reports: list[str] = []
    runtime = SimpleNamespace(
        say=lines.append, report=lambda line, error: reports.append(line), clock=clock, asked_why={}
    )
    yield Told(
        primary=primary, runtime=runtime, lines=lines, reports=reports, outages=outages, clock=clock, speaks=True
    )
    primary.shut_down()


def fail(told: Told, why: Callable[[], PrimaryFailure | None] | None) -> None:
    def probe(scope: CancelScope) -> Iterator[Chunk]:
        if not told.speaks:
            raise PrimaryError(FailureKind.HTTP_ERROR, "broken", status=500)
        yield Chunk("Hi")

    told.primary.failed(CUT, probe)
    diagnose(told.runtime, told.primary, CUT, why)


def test_what_is_wrong_with_one_request_is_told_and_forgotten(told: Told) -> None:
    for _ in range(12):
        fail(told, lambda: REFUSES)
    assert told.outages == []
    assert told.lines == [f"127.0.0.1:5000 {failure_messages.what(REFUSES)}. {failure_messages.remedy(REFUSES)}"]


def test_where_the_server_answers_nobody_the_reason_begins_the_outage(told: Told) -> None:
    told.speaks = False
    fail(told, lambda: REFUSES)
    assert (told.outages, told.lines) == ([REFUSES], [])


def test_a_server_without_a_model_needs_no_question(told: Told) -> None:
    fail(told, lambda: NO_MODEL)
    assert (told.outages, told.lines) == ([NO_MODEL], [])


@pytest.mark.parametrize("why", [None, lambda: None], ids=["nobody to ask", "no answer"])
def test_without_a_reason_nothing_is_said(told: Told, why: Callable[[], None] | None) -> None:
    fail(told, why)
    assert (told.outages, told.lines, told.reports) == ([], [], [])


def test_a_fault_of_ours_is_reported_and_the_question_asked_all_the_same(told: Told) -> None:
    def why() -> Any:
        raise ValueError("bug")

    told.speaks = False
    fail(told, why)
    assert told.reports == ["Could not find out why 127.0.0.1:5000 failed"]
    assert told.outages == [CUT]


def test_nobody_waits_for_it(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zwaif_hooks.failover.diagnosis.threads", thread_cache.threads)
    asked, release = threading.Event(), threading.Event()

    def why() -> None:
        asked.set()
        release.wait(20)

    fail(told, why)
    assert asked.wait(20)
    release.set()


@pytest.mark.parametrize("kind", sorted(FailureKind))
def test_only_a_failure_without_a_cause_is_asked_about_once_a_minute(told: Told, kind: FailureKind) -> None:
    asked: list[FailureKind] = []
    for seconds in (0.0, ASK_AGAIN_SECONDS - 1, 1.0):
        told.clock.time += seconds
        diagnose(told.runtime, told.primary, PrimaryFailure(kind, "cause"), lambda: asked.append(kind))
    assert len(asked) == (2 if kind in UNEXPLAINED else 0)


def test_a_server_that_recovered_is_asked_again(told: Told) -> None:
    asked: list[int] = []
    for _ in range(2):
        diagnose(told.runtime, told.primary, CUT, lambda: asked.append(1))
        told.primary._recovery.last_end = told.clock.time
    assert len(asked) == 2


def test_a_failure_behind_text_is_not_asked_about(told: Told) -> None:
    asked: list[int] = []
    diagnose(told.runtime, told.primary, replace(CUT, delivered="Once upon"), lambda: asked.append(1))
    assert not asked
