"""A fork or a future release, with other names. Messages are answered, and one line says what is off."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.helpers.doctor_scene import situation
from tests.helpers.fault_server import REPLY, FaultServer
from zwaif_fallback.cli.selftest import unused_port
from zwaif_fallback.doctor.zwaif import check_parts
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment
from zwaif_hooks.host import known_parts

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
CONTROLLER = {
    "api_controller": "brain",
    "Oogabooga_Api_Support": "old_brain",
    "send_via_oogabooga": "ask",
    "ooga_history": "chat_so_far",
    "summary_memory_run": "shorten",
}
SETTINGS = {"stream_chats": "chat_streaming", "char_name": "companion"}
LOGGING = {"zw_logging": "notes", "update_debug_log": "note_down"}
PAGE = {"demo": "page", "_settings_tab": "_options", '"Settings"': '"Options"'}
FORKS: Mapping[str, tuple[Mapping[str, str], tuple[str, ...]]] = {
    "controller": (
        CONTROLLER,
        ("the start of plugins", "the check for repeated replies", "recognising summaries"),
    ),
    "settings": (SETTINGS, ("the character's name",)),
    "logging": (LOGGING, ("lines in the Debug tab",)),
    "page": (PAGE, ("the Settings tab",)),
    "everything": (
        CONTROLLER | SETTINGS | LOGGING | PAGE,
        (
            "the Settings tab",
            "lines in the Debug tab",
            "the start of plugins",
            "the check for repeated replies",
            "recognising summaries",
            "the character's name",
        ),
    ),
}
EACH_FORK = pytest.mark.parametrize("name", FORKS)


def fork(folder: Path, renamed: Mapping[str, str], host: str) -> Path:
    """A copy of the stand-in with other names, in its sources and its files."""
    tree = copy_tree(folder / "fork", {"HOST_PORT": host, "API_FALLBACK_MODEL": "nobody/no-model"})
    for path in tree.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        name = path.name
        for old, new in renamed.items():
            text, name = text.replace(old, new), name.replace(old, new)
        path.write_text(text, encoding="utf-8")
        path.rename(path.with_name(name))
    return tree


def asked(tree: Path, folder: Path) -> tuple[str, str]:
    """The reply to one message that stands in the history, and the console."""
    env = environment(folder / "site") | {"XDG_STATE_HOME": str(folder / "state"), "ZWAIF_STANDIN_UI": "OFF"}
    env |= {"HF_HUB_OFFLINE": "1", "ZWAIF_BLOCK_PLUGINS": ""}
    done = subprocess.run(
        [sys.executable, "main.py", "--once", "Are you there?"],
        cwd=tree,
        env={name: value for name, value in env.items() if not name.startswith("API_FALLBACK_")},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (question, reply, *_) = json.loads((tree / "LiveLog.json").read_text(encoding="utf-8"))[-1]
    assert question == "Are you there?"
    return reply, done.stdout


@EACH_FORK
def test_a_message_is_answered_when_the_server_is_gone(name: str, tmp_path: Path) -> None:
    renamed, off = FORKS[name]
    tree = fork(tmp_path, renamed, f"127.0.0.1:{unused_port()}")
    reply, console = asked(tree, tmp_path)
    assert reply.strip()
    (line,) = [line for line in console.splitlines() if "these features are off" in line]
    assert [feature for feature in off if feature not in line] == []
    assert line.count(": no ") == len(off)


@EACH_FORK
def test_a_healthy_reply_is_heard_as_it_is(name: str, tmp_path: Path) -> None:
    with FaultServer() as server:
        server.fault = "healthy"
        reply, _ = asked(fork(tmp_path, FORKS[name][0], f"127.0.0.1:{server.server_port}"), tmp_path)
    assert reply == REPLY


@EACH_FORK
def test_doctor_says_which_features_are_off(name: str, tmp_path: Path) -> None:
    renamed, off = FORKS[name]
    finding = check_parts(situation(fork(tmp_path, renamed, "127.0.0.1:9")))
    assert finding.state == "warning"
    assert len(finding.details) == len(off)
    assert all(any(detail.startswith(feature) for detail in finding.details) for feature in off)


def test_the_stand_in_itself_has_everything(tmp_path: Path) -> None:
    tree = fork(tmp_path, {}, "127.0.0.1:9")
    assert known_parts.missing(tree) == []
    assert check_parts(situation(tree)).state == "ok"


def test_a_fork_with_another_client_library_is_told_that_nothing_is_guarded(tmp_path: Path) -> None:
    libraries = {"import requests": "import httpx", "from ollama": "from llama", "import lmstudio": "import studio"}
    finding = check_parts(situation(fork(tmp_path, libraries, "127.0.0.1:9")))
    assert finding.details[0].startswith("every reply of the fallback")
    assert finding.meaning == "Nothing answers when its LLM server fails."


def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path) -> None:
    tree = fork(tmp_path, {}, "127.0.0.1:9")
    (tree / "utils" / "zw_logging.py").unlink()
    (tree / "utils" / "zw_logging.py").mkdir()
    assert known_parts.missing(tree) == []
