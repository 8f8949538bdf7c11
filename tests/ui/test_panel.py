"""What the page can do, without a page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.ui.scripted import ENV, ScriptedService
from zwaif_fallback import ui
from zwaif_fallback.errors import ModelNotFound, WorkerDied
from zwaif_fallback.settings import DEFAULT_MODEL, SETTINGS
from zwaif_hooks.host import log
from zwaif_hooks.host.settings import SettingsStore


@pytest.fixture
def panel(host: Any, service: ScriptedService) -> ui.Panel:
    return ui.Panel(host, service, lambda: "unchanged", wait=lambda seconds: service.progress.pop(0))


def saved(env_file: Path, name: str) -> Any:
    """The value after a restart."""
    return SettingsStore(SETTINGS, env_file, environ={}, say=pytest.fail).get(name)


def test_toggle_acts_at_once_and_survives_a_restart(panel: ui.Panel, host: Any, env_file: Path) -> None:
    assert panel.toggle() == (False, "Ready.")
    assert host.settings.get(ui.ENABLED) is False
    assert saved(env_file, ui.ENABLED) is False
    assert panel.toggle()[0] is True
    assert env_file.read_text(encoding="utf-8") == ENV


@pytest.mark.parametrize(
    "address",
    ["", "127.0.0.1:5000", "localhost:1", "http://10.0.0.7:8080", "https://llm.example/v1", "[::1]:5000", "gpu-box"],
)
def test_host_is_taken(panel: ui.Panel, env_file: Path, address: str) -> None:
    assert panel.change_host(f"  {address} ") == (address, f"Saved: Fallback Host is {address or 'empty'}.\nReady.")
    assert saved(env_file, ui.HOST) == address


@pytest.mark.parametrize(
    "address",
    [
        "two words",
        "127.0.0.1:99999",
        "127.0.0.1:0",
        "127.0.0.1:port",
        "ftp://x",
        "http://",
        "[::1",
        "file:///etc/passwd",
    ],
)
def test_host_that_is_none_changes_nothing_and_says_why(panel: ui.Panel, env_file: Path, address: str) -> None:
    panel.change_host("10.0.0.7:5000")
    before = env_file.read_bytes()
    shown, status = panel.change_host(address)
    assert shown == "10.0.0.7:5000"
    assert "127.0.0.1:5000" in status.splitlines()[0]
    assert status.splitlines()[1:] == ["Ready."]
    assert env_file.read_bytes() == before


@pytest.mark.parametrize("value", ["a\nCHAR_NAME = Eve", "x\r\ny", "\x00", "a" * 5000, ["list"], {"a": 1}])
def test_page_cannot_write_a_second_line(panel: ui.Panel, env_file: Path, value: object) -> None:
    list(panel.load(value))
    panel.change_host(value)
    panel.change(ui.PRELOAD, value)
    text = env_file.read_text(encoding="utf-8")
    assert text.startswith(ENV)
    assert all(line.split(" ")[0] in ("API_FALLBACK_MODEL", "API_FALLBACK_HOST") for line in text.splitlines()[3:])


@pytest.mark.parametrize(("value", "kept"), [(0, 2.0), (-5, 2.0), ("soon", 2.0), (float("nan"), 2.0), (1e9, 2.0)])
def test_deadline_out_of_range_goes_back(panel: ui.Panel, env_file: Path, value: object, kept: float) -> None:
    shown, status = panel.change("API_FALLBACK_CONNECT_TIMEOUT", value)
    assert shown == kept
    assert "API_FALLBACK_CONNECT_TIMEOUT" in status
    assert env_file.read_text(encoding="utf-8") == ENV


def test_deadline_is_saved_without_float_dust(panel: ui.Panel, env_file: Path) -> None:
    shown, status = panel.change("API_FALLBACK_CONNECT_TIMEOUT", 2.3000000000000003)
    assert (shown, status) == ("unchanged", "Saved: Seconds to Connect is 2.3.\nReady.")
    assert "API_FALLBACK_CONNECT_TIMEOUT = 2.3\n" in env_file.read_text(encoding="utf-8")


def test_load_saves_begins_and_watches(panel: ui.Panel, service: ScriptedService, env_file: Path) -> None:
    service.progress = ["Loading: 10 %", "Loading: 90 %"]
    seen = list(panel.load("microsoft/phi-2"))
    assert service.loads == [("microsoft/phi-2", True)]
    assert seen[0][0] == "microsoft/phi-2"
    assert {model for model, _ in seen[1:]} == {"unchanged"}, "a later step overwrote what the user chose meanwhile"
    assert [status for _, status in seen[1:]] == ["Loading: 10 %", "Loading: 90 %", "Ready."]
    assert saved(env_file, ui.MODEL) == "microsoft/phi-2"


@pytest.mark.parametrize("name", ["", "   ", None, "Custom"])
def test_load_without_a_name_asks_for_one(panel: ui.Panel, service: ScriptedService, name: object) -> None:
    model, status = list(panel.load(name))[-2]
    assert (model, service.loads) == (DEFAULT_MODEL, [])
    assert "owner/model" in status


def test_load_that_is_refused_says_so(panel: ui.Panel, service: ScriptedService) -> None:
    service.refusal = ModelNotFound("models/x has no weights. Put .safetensors files there.")
    assert list(panel.load("models/x"))[-1][1].splitlines()[0] == str(service.refusal)


def test_test_streams_and_names_who_answered(panel: ui.Panel, service: ScriptedService) -> None:
    replies = [reply for reply, _ in panel.test("Are you there?")]
    assert service.asked == ["Are you there?"]
    assert replies[:2] == ["", "Yes, "]
    assert replies[-1].startswith("Yes, loud and clear.\n\n[Scripted 1B on cpu: first words after ")


def test_empty_test_message_uses_the_usual_one(panel: ui.Panel, service: ScriptedService) -> None:
    list(panel.test("  "))
    assert service.asked == [ui.TEST_MESSAGE]


def test_reply_without_text_is_called_so(panel: ui.Panel, service: ScriptedService) -> None:
    service.pieces = [" ", ""]
    assert list(panel.test("hi"))[-1][0].startswith("No text came from Scripted 1B on cpu")


def test_failure_in_the_middle_of_a_test_is_shown(panel: ui.Panel, service: ScriptedService) -> None:
    service.pieces = ["Well", WorkerDied("The worker ended. It starts again by itself.")]
    *_, (reply, status) = panel.test("hi")
    assert reply == "No reply."
    assert status.splitlines()[0] == "The worker ended. It starts again by itself."


def test_unexpected_failure_is_shown_and_reported(
    panel: ui.Panel, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(log, "report", lambda line, exception=None: lines.append(line))
    service.pieces = [ZeroDivisionError("oops")]
    assert "ZeroDivisionError: oops" in list(panel.test("hi"))[-1][1]
    assert len(lines) == 1


def test_closing_the_page_stops_the_reply(panel: ui.Panel, service: ScriptedService) -> None:
    running = panel.test("hi")
    next(running), next(running)
    running.close()  # type: ignore[attr-defined]
    assert service.released.is_set()


def test_watching_ends_with_the_load(panel: ui.Panel, service: ScriptedService) -> None:
    service.progress = ["1 %", "2 %"]
    assert list(panel.look()) == [(True, "1 %"), (True, "2 %"), (True, "Ready.")]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder this user cannot write")
def test_read_only_folder_is_said_and_the_value_acts(panel: ui.Panel, host: Any, env_file: Path) -> None:
    env_file.parent.chmod(0o500)
    try:
        enabled, status = panel.toggle()
    finally:
        env_file.parent.chmod(0o700)
    assert enabled is False
    assert "only until Z-Waif ends" in status


def test_value_that_cannot_be_saved_acts_and_is_said(
    panel: ui.Panel, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zwaif_hooks.host import envfile

    def fail(*_: object) -> None:
        raise envfile.EnvFileError("The disk is full.")

    monkeypatch.setattr(envfile, "write", fail)
    enabled, status = panel.toggle()
    assert (enabled, host.settings.get(ui.ENABLED)) == (False, False)
    assert "The disk is full." in status


def test_problem_the_service_repeats_is_said_once(panel: ui.Panel, service: ScriptedService) -> None:
    service.pieces = [ModelNotFound("Not on this computer.")]
    service.lines = ["No local model is loaded.", "Not on this computer."]
    assert list(panel.test("hi"))[-1][1] == "Not on this computer.\nNo local model is loaded."


def test_titles_look_like_the_rest_of_the_page(host: Any) -> None:
    assert ui.title(host.settings.setting("API_FALLBACK_FIRST_TOKEN_TIMEOUT")) == "Seconds to the First Word"
    assert ui.title(host.settings.setting(ui.ENABLED)) == "Enable API Fallback"
