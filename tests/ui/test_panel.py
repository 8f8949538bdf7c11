"""What the page can do, without a page: the switch, the settings, and how windows keep up with each other."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.scripted_service import ENV, ScriptedDownload, ScriptedService, loaded
from zwaif_fallback.settings import DEFAULT_MODEL, SETTINGS
from zwaif_fallback.ui.components import title
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.panel import Panel
from zwaif_fallback.ui.setting_edits import ENABLED, HOST, MODEL
from zwaif_hooks.host import env_file as envfile
from zwaif_hooks.host.settings_store import SettingsStore

WAIT = "API_FALLBACK_FIRST_TOKEN_TIMEOUT"


@pytest.fixture
def panel(host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload) -> Panel:
    return Panel(
        host,
        service,
        unchanged=lambda: "unchanged",
        model_list=model_list,
        download=download,
    )


def saved(env_file: Path, name: str) -> Any:
    """The value after a restart."""
    return SettingsStore(SETTINGS, env_file, environ={}, say=pytest.fail).get(name)


def test_toggle_acts_at_once_and_survives_a_restart(panel: Panel, host: Any, env_file: Path) -> None:
    assert panel.toggle()[:3] == (False, "", "")
    assert host.settings.get(ENABLED) is False
    assert saved(env_file, ENABLED) is False
    assert panel.toggle()[0] is True
    assert env_file.read_text(encoding="utf-8") == ENV


def test_window_that_opens_is_told_what_the_page_was_not_built_with(panel: Panel, host: Any) -> None:
    host.settings.set(HOST, "10.0.0.7:5000")
    *values, seen, live, state, info, _ = panel.page_loaded()
    assert len(values) == len(panel.edits.names)
    assert json.loads(seen) == panel.edits.values()
    told = dict(zip(panel.edits.names, values, strict=True))
    assert told.pop(HOST) == "10.0.0.7:5000"
    assert told.pop(MODEL)["value"] == DEFAULT_MODEL
    assert set(told.values()) == {"unchanged"}, "it is on the page already, and somebody may be typing by now"
    assert "<svg" in live
    assert "No model is loaded" in state
    assert "TinyLlama" in info


def test_window_gets_what_another_changed_and_keeps_what_is_being_typed(panel: Panel) -> None:
    seen = panel.page_loaded()[-5]
    panel.fallback_host.change("10.0.0.7:5000")
    *values, now, _, _ = panel.refresh(seen)
    told = dict(zip(panel.edits.names, values, strict=True))
    assert told.pop(HOST) == "10.0.0.7:5000"
    assert set(told.values()) == {"unchanged"}
    *values, _, _, _ = panel.refresh(now)
    assert set(values) == {"unchanged"}


@pytest.mark.parametrize("seen", ["", None, [], "x", "[]", "{}", "7", "[" * 100_000, {"a": 1}])
def test_window_that_is_still_being_opened_is_left_alone(panel: Panel, seen: Any) -> None:
    """What it is told then would come between a person and the first thing they do."""
    *values, now, live, _ = panel.refresh(seen)
    assert set(values) == {"unchanged"}
    assert now in ("", "unchanged")
    assert "<svg" in live


def test_own_change_is_not_told_again(panel: Panel) -> None:
    """It would overwrite what is being typed next into the same box."""
    seen = panel.page_loaded()[-5]
    *_, seen = panel.fallback_host.change("10.0.0.7:5000", seen)
    *_, seen = panel.advanced.change(WAIT, 42.0, seen)
    _, _, seen, _ = panel.toggle(seen)
    *values, _, _, _ = panel.refresh(seen)
    assert set(values) == {"unchanged"}


def test_window_learns_that_another_model_answers(panel: Panel, service: ScriptedService) -> None:
    """Nobody changed a setting: automatic means another one now."""
    service.automatic = True
    seen = panel.page_loaded()[-5]
    assert panel.refresh(seen)[1] == "unchanged"
    service.speaks = loaded("ollama:other:2b")
    row = panel.refresh(seen)[1]
    assert (row["value"], row["choices"][0][0]) == ("Automatic: other:2b", "Automatic: other:2b")


def test_opening_the_tab_keeps_what_this_window_picked(panel: Panel) -> None:
    assert panel.tab_opened("microsoft/phi-2") == ["unchanged"] * 2, "it is still being opened"
    seen = panel.edits.seen_now()
    assert panel.tab_opened("Other: Phi-2, Good, about 2 tokens/s, 5.6 GB to download", seen)[0]["value"] == (
        "microsoft/phi-2"
    )
    assert panel.tab_opened("owner/typed", seen)[0]["value"] == "owner/typed"
    row = "Automatic: companion:1b (Ollama)"
    assert panel.tab_opened(row, seen)[0]["value"] == panel.tab_opened("auto", seen)[0]["value"] == row


def test_opening_the_tab_leaves_a_list_alone_that_is_the_same(panel: Panel, service: ScriptedService) -> None:
    """An update would shrink the list of somebody who has just opened it."""
    *_, seen, _, _, _, listed = panel.page_loaded()
    assert panel.tab_opened("auto", seen, listed) == ["unchanged"] * 2
    service.automatic, service.speaks = True, loaded("ollama:other:2b")
    update, now = panel.tab_opened("auto", seen, listed)
    assert update["choices"][0][0] == "Automatic: other:2b"
    assert panel.tab_opened("auto", seen, now) == ["unchanged"] * 2


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder this user cannot write")
def test_read_only_folder_is_said_and_the_value_acts(panel: Panel, host: Any, env_file: Path) -> None:
    env_file.parent.chmod(0o500)
    try:
        enabled, status, *_ = panel.toggle()
    finally:
        env_file.parent.chmod(0o700)
    assert enabled is False
    assert "only until Z-Waif ends" in status


def test_value_that_cannot_be_saved_acts_and_is_said(panel: Panel, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:

    def fail(*_: object) -> None:
        raise envfile.EnvFileError("The disk is full.")

    monkeypatch.setattr(envfile, "write", fail)
    enabled, status, *_ = panel.toggle()
    assert (enabled, host.settings.get(ENABLED)) == (False, False)
    assert "The disk is full." in status


@pytest.mark.parametrize(("value", "kept"), [(0, 15.0), (-5, 15.0), ("soon", 15.0), (float("nan"), 15.0), (1e9, 15.0)])
def test_deadline_out_of_range_goes_back(panel: Panel, env_file: Path, value: object, kept: float) -> None:
    shown, _ = panel.advanced.change(WAIT, value)
    assert shown["value"] == kept
    assert shown["info"].startswith("\u26a0 Seconds to the First Word is ")
    assert env_file.read_text(encoding="utf-8") == ENV


def test_deadline_is_saved_without_float_dust(panel: Panel, env_file: Path) -> None:
    shown, _ = panel.advanced.change("API_FALLBACK_CONNECT_TIMEOUT", 2.3000000000000003)
    assert shown["info"].startswith("\u2713 Saved. ")
    assert "API_FALLBACK_CONNECT_TIMEOUT = 2.3\n" in env_file.read_text(encoding="utf-8")


def test_leaving_a_box_as_it_was_says_nothing(panel: Panel, env_file: Path) -> None:
    shown, seen = panel.advanced.change("API_FALLBACK_THREADS", "0")
    (setting,) = [one for one in SETTINGS if one.name == "API_FALLBACK_THREADS"]
    assert (shown, seen) == ({"info": setting.help}, "")
    assert env_file.read_text(encoding="utf-8") == ENV


@pytest.mark.parametrize("device", ["banana", "cuda:", "cuda:one", "gpu"])
def test_device_that_cannot_be_one_is_refused_at_its_box(panel: Panel, env_file: Path, device: str) -> None:
    shown, _ = panel.advanced.change("API_FALLBACK_DEVICE", device)
    told = f"\u26a0 Device is {device!r}, but it must be auto, cpu, cuda, or one card such as cuda:1."
    assert shown == {"value": "auto", "info": told}
    assert env_file.read_text(encoding="utf-8") == ENV


@pytest.mark.parametrize("device", ["cpu", "cuda", "CUDA:1", "auto", ""])
def test_device_that_can_be_one_is_taken(panel: Panel, device: str) -> None:
    shown, _ = panel.advanced.change("API_FALLBACK_DEVICE", device)
    assert "value" not in shown


def test_titles_look_like_the_rest_of_the_page(host: Any) -> None:
    assert title(host.settings.setting(WAIT)) == "Seconds to the First Word"
    assert title(host.settings.setting(ENABLED)) == "Enable API Fallback"


def test_asking_for_news_does_not_parse_env_again(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every window asks once a second, and to parse the file takes milliseconds of Z-Waif's process."""
    seen, parsed = panel.page_loaded()[-5], list[Path]()
    read = envfile.read
    monkeypatch.setattr(envfile, "read", lambda path: parsed.append(path) or read(path))
    for _ in range(5):
        panel.refresh(seen)
    assert parsed == []
    panel.edits.set("API_FALLBACK_THREADS", 2)
    panel.refresh(seen)
    assert panel.edits.get("API_FALLBACK_THREADS") == 2


def test_reset_names_what_the_list_shows(panel: Panel, host: Any, service: ScriptedService) -> None:
    """Not the default that nobody chose, which is not here."""
    host.settings.set(MODEL, "owner/one")
    service.automatic = True
    assert "Fallback Model is Automatic: companion:1b (Ollama) again" in panel.reset()[-1]
