"""The whole way of whoever installs the package and does nothing else: a model lies somewhere, the server is gone."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from zwaif_fallback.demo import MODEL
from zwaif_fallback.demo.host_process import FALLBACK, HostProcess
from zwaif_fallback.demo.llm_server import ServerProcess
from zwaif_fallback.demo.play import BACK_SECONDS
from zwaif_fallback.models import catalogue
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
NOTICE = f"API_FALLBACK_MODEL is not set and {catalogue.DEFAULT} is not on this computer, so "


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A user's environment whose home is empty."""
    values = {name: text for name, text in environment(tmp_path / "site").items() if not name.startswith("API_FALL")}
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "OLLAMA_MODELS"):
        values.pop(name, None)
    home = str(tmp_path / "home")
    return {**values, "HOME": home, "USERPROFILE": home, "XDG_STATE_HOME": str(tmp_path), "ZWAIF_STANDIN_UI": "OFF"}


def tree_without_a_server(folder: Path) -> Path:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    # A busy machine loads the model for longer than a user should wait.
    return copy_tree(folder / "z-waif", {"HOST_PORT": address, "API_FALLBACK_SILENCE_LIMIT": "120"})


def test_a_found_model_answers_without_any_setting(tmp_path: Path, env: dict[str, str]) -> None:
    pytest.importorskip("torch")
    tree = tree_without_a_server(tmp_path)
    before = (tree / ".env").read_bytes()
    shutil.copytree(MODEL, tree / "models" / "companion")
    chat = HostProcess(tree, env, tmp_path / "host.log")
    try:
        chat.event("ready")
        chat.wait_for(NOTICE)
        turns = [chat.say("Hello, how are you?", lambda piece: None) for _ in range(2)]
        assert [(turn.who, turn.error) for turn in turns] == [(FALLBACK, "")] * 2
    finally:
        chat.close()
    log = (tmp_path / "host.log").read_text(encoding="utf-8")
    assert log.count(NOTICE) == 1 and "not ready" not in log
    assert (tree / ".env").read_bytes() == before, "a choice of ours is not written down as the user's"


def test_the_command_line_says_the_same(tmp_path: Path, env: dict[str, str]) -> None:
    pytest.importorskip("torch")
    tree = tree_without_a_server(tmp_path)
    shutil.copytree(MODEL, tree / "models" / "companion")

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "zwaif_fallback", *command],
            cwd=tree,
            env=env,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )

    status = run("status")
    assert status.returncode == 0 and NOTICE in status.stdout
    chat = run("chat", "Hello, how are you?")
    assert chat.returncode == 0 and chat.stdout.strip() and chat.stderr.count(NOTICE) == 1


def without_names(line: str) -> str:
    """A console line without what differs from computer to computer: model, address, numbers."""
    for pattern, instead in (
        (r"(TinyLlama/|ollama:|/)[^\s,]+", "MODEL"),
        (r"127\.0\.0\.1:\d+", "SERVER"),
        (r"\b(N|[\d.]+) s\b", "N s"),
        (r" on cpu, .+", " on cpu"),
    ):
        line = re.sub(pattern, instead, line)
    return line


def test_the_console_says_what_the_first_minutes_show(tmp_path: Path, env: dict[str, str]) -> None:
    pytest.importorskip("torch")
    page = (Path(__file__).parents[2] / "docs" / "first-minutes.md").read_text(encoding="utf-8")
    shown = [line for line in page.splitlines() if line.startswith("[API] ")]
    server = ServerProcess()
    server.start()
    tree = copy_tree(
        tmp_path / "z-waif", {"HOST_PORT": f"127.0.0.1:{server.port}", "API_FALLBACK_SILENCE_LIMIT": "120"}
    )
    shutil.copytree(MODEL, tree / "models" / "companion")
    chat = HostProcess(tree, env, tmp_path / "host.log")
    try:
        chat.event("ready")
        for line in ("accepts connections", "is loaded when it is needed"):
            chat.wait_for(line)
        server.kill()
        assert chat.say("Hello, how are you?", lambda piece: None).who == FALLBACK
        server.start()
        chat.wait_for("is back after", longest=BACK_SECONDS)
    finally:
        server.kill()
        chat.close()
    said = {without_names(line) for line in (tmp_path / "host.log").read_text(encoding="utf-8").splitlines()}
    assert len(shown) == 9
    assert [line for line in shown if without_names(line) not in said] == [], sorted(said)
