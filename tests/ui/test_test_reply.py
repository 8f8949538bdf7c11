"""Test Fallback, without a page."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helpers.scripted_service import ScriptedDownload, ScriptedService
from zwaif_fallback.errors import WorkerDied
from zwaif_fallback.ui import test_reply
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.model_permissions import REFUSED
from zwaif_fallback.ui.panel import Panel
from zwaif_hooks import log


@pytest.fixture
def panel(host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload) -> Panel:
    return Panel(host, service, model_list=model_list, download=download)


def test_it_streams_and_names_who_answered(panel: Panel, service: ScriptedService) -> None:
    replies = list(panel.test_reply.stream("Are you there?"))
    assert service.asked == ["Are you there?"]
    assert replies[:2] == [test_reply.WAITING, "Yes, "]
    assert replies[-1].startswith("Yes, loud and clear.\n\n[Scripted 1B: first words after ")


@pytest.mark.parametrize("message", ["  ", None, ["x"], 7])
def test_message_that_is_none_becomes_the_usual_one(panel: Panel, service: ScriptedService, message: object) -> None:
    list(panel.test_reply.stream(message))
    assert service.asked == [test_reply.MESSAGE]


def test_endless_message_is_cut(panel: Panel, service: ScriptedService) -> None:
    list(panel.test_reply.stream("x" * 1_000_000))
    assert len(service.asked[0]) == 1000


def test_reply_without_text_is_called_so(panel: Panel, service: ScriptedService) -> None:
    service.pieces = [" ", ""]
    assert list(panel.test_reply.stream("hi"))[-1].startswith("[Scripted 1B: no text, finished after ")


def test_failure_in_the_middle_is_shown(panel: Panel, service: ScriptedService) -> None:
    service.pieces = ["Well", WorkerDied("The worker ended. It starts again by itself.")]
    assert list(panel.test_reply.stream("hi"))[-1] == "No reply. The worker ended. It starts again by itself."


def test_unexpected_failure_is_shown_and_reported(
    panel: Panel, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(log, "report", lambda line, exception=None: lines.append(line))
    service.pieces = [ZeroDivisionError("oops")]
    assert "ZeroDivisionError: oops" in list(panel.test_reply.stream("hi"))[-1]
    assert len(lines) == 1


def test_closing_the_page_stops_the_reply(panel: Panel, service: ScriptedService) -> None:
    running = panel.test_reply.stream("hi")
    next(running), next(running)
    running.close()  # type: ignore[attr-defined]
    assert service.released.is_set()


def test_it_tries_what_is_picked(panel: Panel, service: ScriptedService, model_list: ModelList) -> None:
    here = model_list.found()[0].setting
    for picked in (here, "companion:1b", model_list.selected(service)[1], "auto"):
        list(panel.test_reply.stream("hi", picked))
    assert service.tried == [here, here, "", ""]


def test_model_that_is_not_here_is_not_tried(panel: Panel, service: ScriptedService) -> None:
    assert list(panel.test_reply.stream("hi", "microsoft/phi-2"))[-1] == (
        "No reply. Phi-2 is not on this computer. Press Load Model first."
    )
    assert list(panel.test_reply.stream("hi", "/etc/passwd"))[-1] == f"No reply. {REFUSED}"
    assert service.asked == []
