"""Whose code is run: none that another user of this computer can change."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.helpers.access import let_others_write
from zwaif_hooks.storage.ownership import _REPLACE, Grant, others_can_change, strangers

ME, SOMEBODY = "S-1-5-21-1-2-3-1001", "S-1-5-21-1-2-3-1002"
SYSTEM, ADMINS, USERS, ALL, SIGNED_IN = "S-1-5-18", "S-1-5-32-544", "S-1-5-32-545", "S-1-1-0", "S-1-5-11"
INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
FULL, MODIFY, READ, GENERIC_READ, APPEND = 0x1F01FF, 0x1301BF, 0x1200A9, 0xA0000000, 0x4
USUAL = [Grant(SYSTEM, FULL), Grant(ADMINS, FULL)]


@pytest.mark.parametrize(
    ("owner", "grants", "found"),
    [
        pytest.param(ME, [*USUAL, Grant(ME, FULL)], set(), id="a folder of the profile"),
        pytest.param(
            INSTALLER,
            [*USUAL, Grant(INSTALLER, FULL), Grant(USERS, READ), Grant("S-1-15-2-1", READ)],
            set(),
            id="Program Files",
        ),
        pytest.param(ADMINS, [*USUAL, Grant(USERS, READ), Grant(ALL, GENERIC_READ)], set(), id="read by all"),
        pytest.param(ME, [*USUAL, Grant(SIGNED_IN, MODIFY), Grant(USERS, READ)], {SIGNED_IN}, id="a new folder of D:"),
        pytest.param(ADMINS, [*USUAL, Grant(USERS, READ), Grant(USERS, APPEND)], {USERS}, id="ProgramData"),
        pytest.param(SOMEBODY, [*USUAL, Grant(ME, FULL)], {SOMEBODY}, id="of another user"),
        pytest.param(ME, [Grant(ALL, 0x40000000)], {ALL}, id="a generic right"),
        pytest.param(ME, None, {ALL}, id="a drive without access lists"),
        pytest.param(ME, [], set(), id="an empty list, which allows nobody anything"),
    ],
)
def test_access_lists_as_windows_has_them(owner: str, grants: list[Grant] | None, found: set[str]) -> None:
    assert strangers(owner, grants, ME) == found


@pytest.mark.parametrize(("mask", "enough"), [(APPEND, False), (0x2, False), (0x40, True), (MODIFY, True)])
def test_a_folder_further_up_may_get_new_files_but_not_be_replaced(mask: int, enough: bool) -> None:
    """As in the top folder of C:, where every user may make folders."""
    assert bool(strangers(ADMINS, [*USUAL, Grant(SIGNED_IN, mask)], ME, _REPLACE)) is enough


def test_files_on_this_system(tmp_path: Path) -> None:
    file = tmp_path / "Größe & mehr" / "bin" / "run.exe"
    file.parent.mkdir(parents=True)
    file.touch()
    assert others_can_change(file) == ""
    for place in (file, file.parent, file.parent.parent):
        let_others_write(place)
        assert others_can_change(file) == f"other users can change {place}"
        let_others_write(place, False)
    assert others_can_change(file) == ""


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        others_can_change(tmp_path / "gone")


@pytest.mark.skipif(sys.platform != "win32", reason="elsewhere Python's own folder does not count")
def test_who_can_change_python_can_change_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Z-Waif on another drive, where Windows lets every user change what is in a new folder."""
    tree = tmp_path / "venv"
    file = tmp_path / "plugins" / "owl.py"
    for folder in (tree, file.parent):
        folder.mkdir()
        let_others_write(folder)
    file.touch()
    let_others_write(file, False)
    assert others_can_change(file) == f"other users can change {file.parent}"
    monkeypatch.setattr(sys, "prefix", os.fspath(tree))
    assert others_can_change(file) == ""
