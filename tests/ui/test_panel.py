"""What the page can do, without a page: the switch, the status, and how windows keep up with each other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.ui.scripted import ENV, ScriptedDownload, ScriptedService
from zwaif_fallback import ui
from zwaif_fallback.settings import DEFAULT_MODEL, SETTINGS
from zwaif_fallback.ui.shelf import Shelf
from zwaif_hooks.host.settings import SettingsStore

WAIT = "API_FALLBACK_FIRST_TOKEN_TIMEOUT"


@pytest.fixture
def panel(host: Any, service: ScriptedService, shelf: Shelf, download: ScriptedDownload) -> ui.Panel:
    return ui.Panel(
        host,
        service,
        unchanged=lambda: "unchanged",
        wait=lambda seconds: service.progress.pop(0),
        shelf=shelf,
        download=download,
    )


def saved(env_file: Path, name: str) -> Any:
    """The value after a restart."""
    return SettingsStore(SETTINGS, env_file, environ={}, say=pytest.fail).get(name)


def test_toggle_acts_at_once_and_survives_a_restart(panel: ui.Panel, host: Any, env_file: Path) -> None:
    assert panel.toggle() == (False, "Ready.", "")
    assert host.settings.get(ui.ENABLED) is False
    assert saved(env_file, ui.ENABLED) is False
    assert panel.toggle()[0] is True
    assert env_file.read_text(encoding="utf-8") == ENV


def test_window_that_opens_is_told_what_the_page_was_not_built_with(panel: ui.Panel, host: Any) -> None:
    host.settings.set(ui.HOST, "10.0.0.7:5000")
    *values, seen, live, info = panel.opened()
    assert len(values) == len(panel.changes.names)
    assert json.loads(seen) == panel.changes.values()
    told = dict(zip(panel.changes.names, values, strict=True))
    assert told.pop(ui.HOST) == "10.0.0.7:5000"
    assert told.pop(ui.MODEL)["value"] == DEFAULT_MODEL
    assert set(told.values()) == {"unchanged"}, "it is on the page already, and somebody may be typing by now"
    assert "<svg" in live
    assert "TinyLlama" in info


def test_window_gets_what_another_changed_and_keeps_what_is_being_typed(panel: ui.Panel) -> None:
    seen = panel.opened()[-3]
    panel.address.change("10.0.0.7:5000")
    *values, now, _ = panel.refresh(seen)
    told = dict(zip(panel.changes.names, values, strict=True))
    assert told.pop(ui.HOST) == "10.0.0.7:5000"
    assert set(told.values()) == {"unchanged"}
    *values, _, _ = panel.refresh(now)
    assert set(values) == {"unchanged"}


@pytest.mark.parametrize("seen", ["", None, [], "x", "[]", "{}", "7", "[" * 100_000, {"a": 1}])
def test_window_that_is_still_being_opened_is_left_alone(panel: ui.Panel, seen: Any) -> None:
    """What it is told then would come between a person and the first thing they do."""
    *values, now, live = panel.refresh(seen)
    assert set(values) == {"unchanged"}
    assert now in ("", "unchanged")
    assert "<svg" in live


def test_own_change_is_not_told_again(panel: ui.Panel) -> None:
    """It would overwrite what is being typed next into the same box."""
    seen = panel.opened()[-3]
    *_, seen = panel.address.change("10.0.0.7:5000", seen)
    *_, seen = panel.advanced.change(WAIT, 42.0, seen)
    *_, seen = panel.toggle(seen)
    *values, _, _ = panel.refresh(seen)
    assert set(values) == {"unchanged"}


def test_watching_ends_with_the_load(panel: ui.Panel, service: ScriptedService) -> None:
    service.progress = ["1 %", "2 %"]
    told = list(panel.look(panel.changes.told()))
    assert [status for _, status in told] == ["unchanged", "1 %", "2 %", "Ready."]
    assert [choices == "unchanged" for choices, _ in told] == [False, True, True, True]
    service.progress = ["1 %", "2 %"]
    assert list(panel.opened_status()) == ["1 %", "1 %", "2 %", "Ready."]


def test_opening_the_tab_keeps_the_news_of_a_quick_click(panel: ui.Panel, service: ScriptedService) -> None:
    assert list(panel.look()) == [("unchanged", "unchanged")]
    assert list(panel.opened_status()) == ["unchanged"]
    service.lines = ["Loaded: another"]
    assert list(panel.opened_status()) == ["Loaded: another"]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder this user cannot write")
def test_read_only_folder_is_said_and_the_value_acts(panel: ui.Panel, host: Any, env_file: Path) -> None:
    env_file.parent.chmod(0o500)
    try:
        enabled, status, _ = panel.toggle()
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
    enabled, status, _ = panel.toggle()
    assert (enabled, host.settings.get(ui.ENABLED)) == (False, False)
    assert "The disk is full." in status


@pytest.mark.parametrize(("value", "kept"), [(0, 15.0), (-5, 15.0), ("soon", 15.0), (float("nan"), 15.0), (1e9, 15.0)])
def test_deadline_out_of_range_goes_back(panel: ui.Panel, env_file: Path, value: object, kept: float) -> None:
    shown, status, _ = panel.advanced.change(WAIT, value)
    assert shown == kept
    assert WAIT in status
    assert env_file.read_text(encoding="utf-8") == ENV


def test_deadline_is_saved_without_float_dust(panel: ui.Panel, env_file: Path) -> None:
    shown, status, _ = panel.advanced.change("API_FALLBACK_CONNECT_TIMEOUT", 2.3000000000000003)
    assert (shown, status) == ("unchanged", "Saved: Seconds to Connect is 2.3.\nReady.")
    assert "API_FALLBACK_CONNECT_TIMEOUT = 2.3\n" in env_file.read_text(encoding="utf-8")


def test_leaving_a_box_as_it_was_says_nothing(panel: ui.Panel, env_file: Path) -> None:
    assert panel.advanced.change("API_FALLBACK_THREADS", "0") == ("unchanged", "unchanged", "")
    assert env_file.read_text(encoding="utf-8") == ENV


def test_titles_look_like_the_rest_of_the_page(host: Any) -> None:
    assert ui.title(host.settings.setting(WAIT)) == "Seconds to the First Word"
    assert ui.title(host.settings.setting(ui.ENABLED)) == "Enable API Fallback"
