"""Odd situations, with the stand-in as a real process: each message is answered once, and nothing else breaks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from zwaif_fallback.cli.selftest import unused_port
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
WAIT = 60.0
WITHOUT_A_CONSOLE = """
import runpy, sys
sys.argv = ["main.py", "--once", "Are you there?"]
sys.path.insert(0, "")
sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = None
runpy.run_path("main.py", run_name="__main__")
"""


class Host:
    """A tree whose server is gone and that has no model, so the companion says last words."""

    def __init__(self, folder: Path, name: str, **settings: str) -> None:
        self.folder = folder
        values = {"HOST_PORT": f"127.0.0.1:{unused_port()}", "API_FALLBACK_MODEL": "nobody/no-model", **settings}
        self.tree = copy_tree(folder / name, values)

    def start(self, arguments: Sequence[str], **env: str) -> subprocess.Popen[bytes]:
        own = {k: v for k, v in environment(self.folder / "site").items() if not k.startswith("API_FALLBACK_")}
        own |= {"XDG_STATE_HOME": str(self.folder / "state"), "ZWAIF_STANDIN_UI": "OFF", "HF_HUB_OFFLINE": "1"}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.tree,
            env=own | env,
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
        )

    def history(self) -> list[tuple[str, str]]:
        try:
            entries = json.loads((self.tree / "LiveLog.json").read_text(encoding="utf-8"))
        except ValueError:  # it is being written
            return []
        return [(entry[0], entry[1]) for entry in entries]

    def wait_for(self, question: str) -> str:
        """The reply to a message."""
        until = time.monotonic() + WAIT
        while time.monotonic() < until:
            replies = [reply for asked, reply in self.history() if asked == question]
            if replies:
                assert len(replies) == 1
                assert replies[0].strip()
                return replies[0]
            time.sleep(0.05)
        raise AssertionError(f"no reply to {question!r}")


def said(process: subprocess.Popen[bytes], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line.encode() + b"\n")
    process.stdin.flush()


def ended(process: subprocess.Popen[bytes], encoding: str = "utf-8") -> str:
    """The console, once the process has ended well."""
    console = process.communicate(timeout=WAIT)[0].decode(encoding, "replace")
    assert process.returncode == 0, console
    assert "Traceback" not in console
    return console


def turns(folder: Path, number: int) -> list[Path]:
    """The files of turn records, once they hold this number of turns."""
    if os.name == "nt":
        pytest.skip("on Windows no variable moves the user's log folder")
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        files = list((folder / "state").rglob("turns-*.jsonl"))
        if sum(path.read_bytes().count(b"\n") for path in files) == number:
            return files
        time.sleep(0.05)
    raise AssertionError(f"there are not {number} turns")


@pytest.mark.parametrize("name", ["Z-Waif für Jürgen & mich (neu)", "ツ 100% z'waif"])
def test_a_folder_with_spaces_and_other_letters(name: str, tmp_path: Path) -> None:
    host = Host(tmp_path / name, name)
    process = host.start(["main.py"])
    said(process, "Are you there?")
    host.wait_for("Are you there?")
    assert len(turns(host.folder, 1)) == 1
    said(process, "/quit")
    assert "is down" in ended(process)


def test_without_a_console(tmp_path: Path) -> None:
    """``pythonw``: there is no standard output and no error output."""
    host = Host(tmp_path, "z-waif")
    assert ended(host.start(["-c", WITHOUT_A_CONSOLE])) == ""
    host.wait_for("Are you there?")


def test_a_console_of_western_letters_in_a_file(tmp_path: Path) -> None:
    host = Host(tmp_path, "ツ", API_FALLBACK_LAST_WORDS="Ich höre dich ツ nicht")
    encoding = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}
    console = ended(host.start(["main.py", "--once", "Are you there?"], **encoding), "cp1252")
    host.wait_for("Are you there?")
    assert "is down" in console


def test_two_trees_and_twice_the_same_tree_in_one_environment(tmp_path: Path) -> None:
    one, other = Host(tmp_path, "one"), Host(tmp_path, "other")
    running = [host.start(["main.py"]) for host in (one, other, one)]
    for number, process in enumerate(running):
        said(process, f"message {number}")
    assert len(turns(tmp_path, 3)) == 2, "one file for each tree"
    other.wait_for("message 1")
    for process in running:
        said(process, "/quit")
    assert all("is down" in ended(process) for process in running)
    learned = list((tmp_path / "state").rglob("learned-*.json"))
    assert len(learned) == 2
    assert [json.loads(path.read_bytes())["version"] for path in learned] == [1, 1]


def test_the_tree_is_updated_while_z_waif_runs_and_after_a_restart(tmp_path: Path) -> None:
    host = Host(tmp_path, "z-waif")
    process = host.start(["main.py"])
    said(process, "before")
    host.wait_for("before")
    for path in host.tree.rglob("*.py"):
        path.write_text(path.read_text(encoding="utf-8").replace("zw_logging", "zw_journal"), encoding="utf-8")
        path.rename(path.with_name(path.name.replace("zw_logging", "zw_journal")))
    said(process, "after")
    host.wait_for("after")
    said(process, "/quit")
    ended(process)
    again = host.start(["main.py", "--once", "again"])
    assert "these features are off: lines in the Debug tab" in ended(again)
    host.wait_for("again")


def test_a_tree_that_is_removed_while_z_waif_runs(tmp_path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows does not let files in use be removed")
    host = Host(tmp_path, "z-waif")
    process = host.start(["main.py"])
    said(process, "before")
    host.wait_for("before")
    for path in host.tree.rglob("*.py"):
        path.unlink()
    said(process, "after")
    host.wait_for("after")
    said(process, "/quit")
    ended(process)
