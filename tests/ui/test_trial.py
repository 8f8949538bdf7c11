"""Test Fallback, without a page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ui.scripted import ScriptedDownload, ScriptedService
from zwaif_fallback import ui
from zwaif_fallback.errors import ModelNotFound, WorkerDied
from zwaif_fallback.ui import trial
from zwaif_fallback.ui.shelf import Shelf
from zwaif_hooks.host import log


@pytest.fixture
def panel(host: Any, service: ScriptedService, shelf: Shelf, download: ScriptedDownload) -> ui.Panel:
    return ui.Panel(host, service, shelf=shelf, download=download)


def test_it_streams_and_names_who_answered(panel: ui.Panel, service: ScriptedService) -> None:
    replies = [reply for reply, _ in panel.trial.test("Are you there?")]
    assert service.asked == ["Are you there?"]
    assert replies[:2] == ["", "Yes, "]
    assert replies[-1].startswith("Yes, loud and clear.\n\n[Scripted 1B on cpu: first words after ")


@pytest.mark.parametrize("message", ["  ", None, ["x"], 7])
def test_message_that_is_none_becomes_the_usual_one(panel: ui.Panel, service: ScriptedService, message: object) -> None:
    list(panel.trial.test(message))
    assert service.asked == [trial.MESSAGE]


def test_endless_message_is_cut(panel: ui.Panel, service: ScriptedService) -> None:
    list(panel.trial.test("x" * 1_000_000))
    assert len(service.asked[0]) == 1000


def test_reply_without_text_is_called_so(panel: ui.Panel, service: ScriptedService) -> None:
    service.pieces = [" ", ""]
    assert list(panel.trial.test("hi"))[-1][0].startswith("No text came from Scripted 1B on cpu")


def test_failure_in_the_middle_is_shown(panel: ui.Panel, service: ScriptedService) -> None:
    service.pieces = ["Well", WorkerDied("The worker ended. It starts again by itself.")]
    *_, (reply, status) = panel.trial.test("hi")
    assert reply == "No reply."
    assert status.splitlines()[0] == "The worker ended. It starts again by itself."


def test_unexpected_failure_is_shown_and_reported(
    panel: ui.Panel, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(log, "report", lambda line, exception=None: lines.append(line))
    service.pieces = [ZeroDivisionError("oops")]
    assert "ZeroDivisionError: oops" in list(panel.trial.test("hi"))[-1][1]
    assert len(lines) == 1


def test_closing_the_page_stops_the_reply(panel: ui.Panel, service: ScriptedService) -> None:
    running = panel.trial.test("hi")
    next(running), next(running)
    running.close()  # type: ignore[attr-defined]
    assert service.released.is_set()


def test_problem_the_service_repeats_is_said_once(panel: ui.Panel, service: ScriptedService) -> None:
    service.pieces = [ModelNotFound("Not on this computer.")]
    service.lines = ["No local model is loaded.", "Not on this computer."]
    assert list(panel.trial.test("hi"))[-1][1] == "Not on this computer.\nNo local model is loaded."
