"""The example plugins of the manual: installed by pip, in a real process, and their own tests pass."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.pip_install import installed_by_pip, needs_pip
from zwaif_fallback.testing import StandIn
from zwaif_hooks.testing import FaultServer

pytest_plugins = ["zwaif_hooks.testing.pytest_plugin"]
pytestmark = [pytest.mark.slow, needs_pip]
FOLDER = Path(__file__).parents[2] / "docs" / "examples"
EXAMPLES = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())
LONGEST = 60
"""Lines of a plugin. What takes more is no example."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all examples, as pip installs them."""
    return installed_by_pip(tmp_path_factory.mktemp("examples"), *(FOLDER / name for name in EXAMPLES))


def module_of(name: str) -> Path:
    return FOLDER / name / f"{name.replace('-', '_')}.py"


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_a_whole_package(name: str) -> None:
    assert len(module_of(name).read_text(encoding="utf-8").splitlines()) < LONGEST
    assert (FOLDER / name / "pyproject.toml").is_file()


@pytest.mark.parametrize("name", [name for name in EXAMPLES if (FOLDER / name / "tests").is_dir()])
def test_its_own_tests_pass(name: str, site: Path, tmp_path: Path) -> None:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir=."]
    done = subprocess.run(
        [*command, str(FOLDER / name / "tests")], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_claude_answers_in_a_real_process(
    zwaif_server: FaultServer, zwaif_standin: Callable[..., StandIn], site: Path
) -> None:
    """The fault server is also Anthropic here: what it streams has Claude's form as well."""
    with FaultServer() as api:
        api.play = lambda talk: talk.body_of(200, EVENTS, "text/event-stream")  # type: ignore[method-assign]
        zwaif = zwaif_standin(site, CLAUDE_API_KEY="key-123456", CLAUDE_URL=f"http://{api.address}/v1/messages")
        zwaif_server.stop()
        assert zwaif.say("Hello").reply == "I am here."
        assert api.headers_seen[0]["x-api-key"] == "key-123456"
    assert "left out" not in zwaif.console and "key-123456" not in zwaif.console


EVENTS = b'event: content_block_delta\ndata: {"type": "content_block_delta", "delta": {"text": "I am here."}}\n\n'


def test_alpaca_is_the_format_of_the_local_model(
    zwaif_server: FaultServer, zwaif_standin: Callable[..., StandIn], site: Path
) -> None:
    zwaif = zwaif_standin(
        site,
        fallback=True,
        ALPACA_MODELS="model",  # the demo's model is in a folder of this name
        ZWAIF_TRACE_PLUGINS="1",
        API_FALLBACK_PRELOAD="start",
        API_FALLBACK_SILENCE_LIMIT="120",
    )
    zwaif.wait_for("Fallback ready")
    zwaif_server.stop()
    assert zwaif.say("Hello").error == ""
    assert "--> PromptFormat(render=<function render" in zwaif.console, "the trace shows what the hook returned"


def test_markov_is_the_engine_of_the_local_model(
    zwaif_server: FaultServer, zwaif_standin: Callable[..., StandIn], site: Path
) -> None:
    zwaif = zwaif_standin(
        site,
        fallback=True,
        API_FALLBACK_MODEL="markov:chat",
        API_FALLBACK_PRELOAD="start",
        API_FALLBACK_SILENCE_LIMIT="120",
    )
    assert "markov" in zwaif.wait_for("Fallback ready")
    zwaif_server.stop()
    turn = zwaif.say("Hello, Mia. The sea is calm today. Shall we sail?")
    assert turn.error == "" and "markov:chat" in turn.fallback and turn.reply


@pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="the page needs Gradio")
def test_replies_has_its_part_on_the_page(zwaif_standin: Callable[..., StandIn], site: Path) -> None:
    zwaif = zwaif_standin(site, page=True)
    assert "Last Replies" in zwaif.labels()
    assert "left out" not in zwaif.console and "zwaif_replies" not in zwaif.console
