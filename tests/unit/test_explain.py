"""A reason that is found out later: told once, and never at the price of a reply."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from zwaif_hooks import words
from zwaif_hooks.explain import explain
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.primary import Primary

CUT = PrimaryFailure(FailureKind.CUT, "cut")
REFUSES = PrimaryFailure(FailureKind.MISCONFIGURED, "refuses the request: no such preset", status=400)


class Told(SimpleNamespace):
    """``lines`` said, ``reports`` of failures of ours, ``outages``; ``done`` counts what was found out."""


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    monkeypatch.setattr("zwaif_hooks.primary.listens", lambda name: False)
    outages: list[PrimaryFailure | None] = []
    primary = Primary("127.0.0.1:5000", lambda name, failure, seconds: outages.append(failure))
    lines: list[str] = []
    reports: list[str] = []
    runtime = SimpleNamespace(say=lines.append, report=lambda line, error: reports.append(line))
    yield Told(primary=primary, runtime=runtime, lines=lines, reports=reports, outages=outages)
    primary.shut_down()


def learn(told: Told, why: Callable[[], PrimaryFailure | None] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this thread, so that it is over when this returns."""
    monkeypatch.setattr("zwaif_hooks.explain.readers", SimpleNamespace(run=lambda job: job()))
    told.primary.failed(CUT)
    explain(told.runtime, told.primary, CUT, why)


def test_the_reason_begins_the_outage_and_is_told_with_it(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(told, lambda: REFUSES, monkeypatch)
    assert (told.outages, told.lines) == ([REFUSES], [])


def test_in_an_outage_that_has_begun_it_is_a_line_of_its_own(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    told.primary.failed(CUT)
    learn(told, lambda: REFUSES, monkeypatch)
    assert told.outages == [CUT]
    assert told.lines == [f"127.0.0.1:5000 {words.what(REFUSES)}. {words.remedy(REFUSES)}"]


def test_a_second_failure_asks_nothing(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    learn(told, lambda: None, monkeypatch)
    learn(told, lambda: REFUSES, monkeypatch)
    assert told.lines == []


@pytest.mark.parametrize("why", [None, lambda: None], ids=["nobody to ask", "no answer"])
def test_without_a_reason_nothing_is_said(
    told: Told, monkeypatch: pytest.MonkeyPatch, why: Callable[[], None] | None
) -> None:
    learn(told, why, monkeypatch)
    assert (told.outages, told.lines, told.reports) == ([], [], [])


def test_a_fault_of_ours_is_reported(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    def why() -> Any:
        raise ValueError("bug")

    learn(told, why, monkeypatch)
    assert told.reports == ["Why 127.0.0.1:5000 failed could not be found out"]


def test_nobody_waits_for_it(told: Told) -> None:
    asked, release = threading.Event(), threading.Event()

    def why() -> None:
        asked.set()
        release.wait(20)

    told.primary.failed(CUT)
    explain(told.runtime, told.primary, CUT, why)
    assert asked.wait(20)
    release.set()
