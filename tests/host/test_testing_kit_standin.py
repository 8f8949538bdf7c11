"""The stand-in that authors of plugins get: a real process, with a plugin that pip would have installed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.pip_install import installed_by_pip
from zwaif_fallback.demo.host_process import SERVER
from zwaif_fallback.testing import StandIn
from zwaif_hooks.testing import FaultServer
from zwaif_hooks.testing.fault_talk import REPLY

pytest_plugins = ["zwaif_hooks.testing.pytest_plugin"]
pytestmark = pytest.mark.slow

PLUGIN = """
import zwaif_hooks as zw

@zw.hookimpl
def on_primary_failure(request):
    return "The echo answers."
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    info = tmp_path / "plugins" / "echo-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: echo\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[zwaif]\necho = zwaif_echo\n", encoding="utf-8")
    (tmp_path / "plugins" / "zwaif_echo.py").write_text(PLUGIN, encoding="utf-8")
    return tmp_path / "plugins"


def test_a_plugin_answers_in_the_stand_in_when_the_server_dies(
    zwaif_server: FaultServer, zwaif_standin: Callable[..., StandIn], site: Path
) -> None:
    standin = zwaif_standin(site)
    turn = standin.say("Hello.")
    assert (turn.reply, turn.error, turn.who) == (REPLY, "", SERVER)
    zwaif_server.stop()
    turn = standin.say("Are you there?")
    assert (turn.reply, turn.error) == ("The echo answers.", "")
    assert "Traceback" not in standin.console


PAGE = Path(__file__).parents[2] / "docs" / "testing-plugins.md"
PARROT = PAGE.parent / "examples" / "zwaif-parrot"


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="building needs setuptools")
def test_the_examples_of_the_manual_pass(tmp_path: Path) -> None:
    """Each block of the page is a file, run by pytest in an environment where the parrot is installed."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 6
    for number, code in enumerate(blocks):
        name = "conftest.py" if code.startswith("pytest_plugins") else f"test_{number}.py"
        (tmp_path / name).write_text(code, encoding="utf-8")
    site = installed_by_pip(tmp_path, PARROT)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=.", "."],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0 and "9 passed" in done.stdout, done.stdout + done.stderr


LAST = """
import pathlib

import zwaif_hooks as zw

TOLD = pathlib.Path(__file__).with_name("told.txt")


def note(line):
    with TOLD.open("a") as file:
        file.write(line + "\\n")


@zw.hookimpl
def sentence_spoken(text):
    note("sentence_spoken")


@zw.hookimpl
def turn_finished(record):
    note("turn_finished")


@zw.hookimpl
def zwaif_stopping():
    note("zwaif_stopping")
"""
HANGS = """
import threading

import zwaif_hooks as zw

@zw.hookimpl(trylast=True)
def zwaif_stopping():
    threading.Event().wait()
"""


def test_a_plugin_hears_of_the_last_turn_before_the_end_and_the_one_that_hangs_is_named(
    zwaif_standin: Callable[..., StandIn], tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "last.py").write_text(LAST, encoding="utf-8")
    (files / "hangs.py").write_text(HANGS, encoding="utf-8")
    standin = zwaif_standin(ZWAIF_PLUGINS_DIR=str(files), ZWAIF_ALLOW_PLUGINS="last, hangs")
    standin.say("Hello.")
    standin.close()
    assert (files / "told.txt").read_text().splitlines() == ["sentence_spoken", "turn_finished", "zwaif_stopping"]
    assert "Plugin 'hangs': it did not finish zwaif_stopping within 2 s" in standin.console
    assert "Plugin 'last'" not in standin.console
