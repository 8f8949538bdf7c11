""".env edited by hand, by Z-Waif's page and by the command line, in every order: noticed, and never overwritten."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zwaif_fallback.cli import main
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin import copy_tree
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings_store import SettingsStore

ROOT = Path(__file__).parents[2]
STALL, FIRST, THREADS = "API_FALLBACK_STALL_TIMEOUT", "API_FALLBACK_FIRST_TOKEN_TIMEOUT", "API_FALLBACK_THREADS"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    return copy_tree(tmp_path / "z-waif", {STALL: "10", FIRST: "15"})


def running_z_waif(tree: Path) -> SettingsStore:
    """Its settings, as the tab changes them; Z-Waif's own ``load_dotenv`` has run."""
    environ = dict(env_file.read(tree / ".env"))
    return SettingsStore(SETTINGS, tree / ".env", environ, say=lambda line: None)


def by_hand(tree: Path, old: str, new: str) -> None:
    """An editor's save, which never falls into the same tick of the clock as the one before."""
    path = tree / ".env"
    text = path.read_text(encoding="utf-8")
    assert old in text
    before = path.stat().st_mtime_ns
    path.write_text(text.replace(old, new), encoding="utf-8")
    os.utime(path, ns=(0, before + 1_000))  # NTFS counts in steps of 100


def test_an_edit_then_a_save_in_the_tab_that_has_not_noticed_it(tree: Path) -> None:
    store = running_z_waif(tree)
    seen: list[tuple[str, object]] = []
    store.subscribe(lambda name, value: seen.append((name, value)))
    by_hand(tree, f"{STALL} = 10", f"{STALL} = 33")
    store.set(FIRST, 20)
    assert env_file.read(tree / ".env")[STALL] == "33", "not overwritten"
    assert store.get(STALL) == 33, "noticed"
    assert sorted(seen) == [(FIRST, 20.0), (STALL, 33.0)]


def test_a_save_in_the_tab_then_an_edit_from_before_it(tree: Path) -> None:
    """The editor had the old file open: what the hand saved last counts, everywhere."""
    store = running_z_waif(tree)
    before = (tree / ".env").read_text(encoding="utf-8")
    store.set(FIRST, 20)
    (tree / ".env").write_text(before.replace(f"{STALL} = 10", f"{STALL} = 33"), encoding="utf-8")
    store.reload()
    assert (store.get(STALL), store.get(FIRST)) == (33, 15)


def test_an_edit_and_a_save_of_the_same_setting(tree: Path) -> None:
    store = running_z_waif(tree)
    by_hand(tree, f"{STALL} = 10", f"{STALL} = 33")
    store.set(STALL, 44)
    assert env_file.read(tree / ".env")[STALL] == "44" and store.get(STALL) == 44
    by_hand(tree, f"{STALL} = 44", f"{STALL} = 55")
    store.reload()
    assert store.get(STALL) == 55


def test_the_command_line_beside_a_running_z_waif(tree: Path) -> None:
    store = running_z_waif(tree)
    assert main.main(["settings", "set", STALL, "33", "--zwaif", str(tree)]) == 0
    store.set(FIRST, 20)
    assert (store.get(STALL), store.get(FIRST)) == (33, 20)
    assert main.main(["settings", "set", THREADS, "2", "--zwaif", str(tree)]) == 0
    store.reload()
    assert store.get(THREADS) == 2
    values = env_file.read(tree / ".env")
    assert (values[STALL], values[FIRST], values[THREADS]) == ("33", "20", "2")


def test_an_edit_then_the_command_line(tree: Path) -> None:
    by_hand(tree, f"{STALL} = 10", f"{STALL} = 33")
    assert main.main(["settings", "set", FIRST, "20", "--zwaif", str(tree)]) == 0
    by_hand(tree, f"{FIRST} = 20", f"{FIRST} = 21  # tried")
    assert main.main(["settings", "set", STALL, "34", "--zwaif", str(tree)]) == 0
    text = (tree / ".env").read_text(encoding="utf-8")
    assert f"{FIRST} = 21  # tried\n" in text and f"{STALL} = 34\n" in text


def test_an_edit_in_the_middle_of_a_save(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between our reading and our writing: the save is made again, on what the hand has left."""
    changed = env_file._changed
    edits = iter([(f"{STALL} = 10", f"{STALL} = 33"), ("CHAR_NAME = Mia", "CHAR_NAME = Noa")])

    def edited_meanwhile(text: str, key: str, value: str) -> str | None:
        made = changed(text, key, value)
        if (edit := next(edits, None)) is not None:
            by_hand(tree, *edit)
        return made

    monkeypatch.setattr(env_file, "_changed", edited_meanwhile)
    env_file.write(tree / ".env", FIRST, "20")
    values = env_file.read(tree / ".env")
    assert (values[FIRST], values[STALL], values["CHAR_NAME"]) == ("20", "33", "Noa")


def test_a_file_that_never_rests_is_left_to_the_other_program(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, count = env_file._changed, 0

    def always(text: str, key: str, value: str) -> str | None:
        nonlocal count
        count += 1
        by_hand(tree, "CHAR_NAME", f"#{count}\nCHAR_NAME")
        return changed(text, key, value)

    monkeypatch.setattr(env_file, "_changed", always)
    with pytest.raises(env_file.EnvFileError, match="another program keeps writing"):
        env_file.write(tree / ".env", FIRST, "20")
    assert 1 < count < 50 and env_file.read(tree / ".env")[FIRST] == "15"


SAVER = """
import sys
from pathlib import Path
from zwaif_hooks.host import env_file
path, key = Path(sys.argv[1]), sys.argv[2]
for number in range(150):
    env_file.write(path, key, str(number))
    assert env_file.read(path)[key] == str(number), (key, number, env_file.read(path).get(key))
"""


def test_two_programs_that_save_at_once_lose_nothing_of_each_other(tree: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "hooks")]), "ZWAIF_PLUGINS": "OFF"}
    savers = [
        subprocess.Popen([sys.executable, "-c", SAVER, str(tree / ".env"), key], env=env, stderr=subprocess.PIPE)
        for key in (STALL, FIRST)
    ]
    for saver in savers:
        _, err = saver.communicate(timeout=100)
        assert saver.returncode == 0, err.decode()
    values = env_file.read(tree / ".env")
    assert (values[STALL], values[FIRST]) == ("149", "149")
    left = [entry.name for entry in tree.iterdir() if entry.name.startswith(".env")]
    assert left == [".env"], "neither a lock nor a half-written file lies in Z-Waif's folder"
