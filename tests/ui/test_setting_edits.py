"""One value of one known setting at a time; and the way back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.scripted_service import ENV, PRIVATE
from zwaif_fallback.settings import DEFAULT_MODEL
from zwaif_fallback.ui.setting_edits import ENABLED, HOST, MODEL, SettingEdits
from zwaif_hooks.host import env_file as envfile

WAIT = "API_FALLBACK_FIRST_TOKEN_TIMEOUT"


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def edits(host: Any, clock: Clock) -> SettingEdits:
    return SettingEdits(host.settings, [ENABLED, MODEL, HOST, WAIT], clock)


@pytest.mark.parametrize(
    "value", ["a\nCHAR_NAME = Eve", "x\r\ny", "\x00", "\u2028x\x85y\nz", "a" * 5000, ["list"], {"a": 1}, None, ("x",)]
)
@pytest.mark.parametrize("name", [MODEL, HOST, WAIT])
def test_no_value_writes_a_second_line(edits: SettingEdits, env_file: Path, name: str, value: object) -> None:
    assert edits.set(name, value)
    assert env_file.read_text(encoding="utf-8") == ENV


@pytest.mark.parametrize(
    "value", ["${PATH}", "$(id)", "a # b", "'quoted'", '"', "a=b", "export X=1", "\u2028CHAR_NAME = Eve", "x\x85y"]
)
def test_odd_value_stays_one_value(edits: SettingEdits, env_file: Path, value: str) -> None:
    before = envfile.read(env_file)
    edits.set(MODEL, value)
    read = envfile.read(env_file)
    assert {key: text for key, text in read.items() if key != MODEL} == before
    assert read[MODEL] == edits.get(MODEL) == value.strip()


@pytest.mark.parametrize("name", ["CHAR_NAME", *PRIVATE, "PATH", ""])
def test_other_keys_cannot_be_written(edits: SettingEdits, env_file: Path, name: str) -> None:
    assert "cannot be changed on this page" in edits.set(name, "x")
    assert env_file.read_text(encoding="utf-8") == ENV


def test_undo_goes_back_change_by_change(edits: SettingEdits, clock: Clock) -> None:
    edits.set(MODEL, "owner/one")
    edits.set(HOST, "10.0.0.7:5000")
    clock.seconds = 100
    edits.set(MODEL, "owner/two")
    assert edits.undo() == "Undone: Fallback Model is owner/one again."
    assert edits.undo() == "Undone: Fallback Host is empty again."
    assert edits.get(MODEL) == "owner/one"
    edits.undo()
    assert edits.get(MODEL) != "owner/one"
    assert "nothing to undo" in edits.undo()


def test_slider_that_was_dragged_is_one_change(edits: SettingEdits, clock: Clock) -> None:
    for value in (20, 25, 31, 40):
        clock.seconds += 1
        edits.set(WAIT, value)
    clock.seconds += 60
    edits.set(WAIT, 50)
    edits.undo()
    assert edits.get(WAIT) == 40
    edits.undo()
    assert edits.get(WAIT) == 15


def test_change_that_was_refused_or_none_is_not_undone(edits: SettingEdits) -> None:
    edits.set(HOST, "10.0.0.7:5000")
    edits.set(WAIT, "soon")
    edits.set(WAIT, 15)
    assert edits.undo() == "Undone: Fallback Host is empty again."


def test_reset_keeps_the_switch_and_can_be_undone(edits: SettingEdits) -> None:
    edits.set(ENABLED, False)
    edits.set(HOST, "10.0.0.7:5000")
    edits.set(WAIT, 60)
    assert edits.reset().startswith("Reset: ")
    assert (edits.get(ENABLED), edits.get(HOST), edits.get(WAIT)) == (False, "", 15)
    assert "already" in edits.reset()
    edits.undo()
    assert (edits.get(HOST), edits.get(WAIT)) == ("10.0.0.7:5000", 60)


@pytest.fixture
def in_z_waif(host: Any, monkeypatch: pytest.MonkeyPatch) -> SettingEdits:
    """As the page makes it: it can tell a default that was chosen from one that was not."""
    monkeypatch.delenv(MODEL, raising=False)
    return SettingEdits(host.settings, [ENABLED, MODEL, HOST, WAIT], tree=host.tree)


def test_reset_and_undo_leave_no_model_chosen(in_z_waif: SettingEdits, env_file: Path) -> None:
    """A default that is written out is a choice, and nothing that is here would answer in its place."""
    for back in (in_z_waif.undo, in_z_waif.reset):
        in_z_waif.set(MODEL, "owner/one")
        assert back().endswith(f": Fallback Model is {DEFAULT_MODEL} again.")
        assert envfile.read(env_file)[MODEL] == "" and in_z_waif.get(MODEL) == DEFAULT_MODEL
    assert "already" in in_z_waif.reset()
    in_z_waif.undo()
    assert envfile.read(env_file)[MODEL] == in_z_waif.get(MODEL) == "owner/one"


def test_the_default_can_be_chosen_and_that_undone(in_z_waif: SettingEdits, env_file: Path) -> None:
    assert in_z_waif.set(MODEL, DEFAULT_MODEL) == ""
    assert envfile.read(env_file)[MODEL] == DEFAULT_MODEL
    in_z_waif.undo()
    assert envfile.read(env_file)[MODEL] == ""
    in_z_waif.set(MODEL, DEFAULT_MODEL)
    in_z_waif.reset()
    assert envfile.read(env_file)[MODEL] == ""


def test_a_model_that_cannot_be_forgotten_is_told(
    in_z_waif: SettingEdits, host: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_z_waif.set(MODEL, "owner/one")

    def fail(*_: object) -> None:
        raise envfile.EnvFileError("The disk is full.")

    monkeypatch.setattr(envfile, "write", fail)
    assert "The disk is full." in in_z_waif.reset()


def test_value_that_acts_but_could_not_be_saved_is_told_and_can_be_undone(
    edits: SettingEdits, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise envfile.EnvFileError("The disk is full.")

    monkeypatch.setattr(envfile, "write", fail)
    assert "The disk is full." in edits.set(WAIT, 60)
    assert "The disk is full." in edits.undo()
    assert edits.get(WAIT) == 15
