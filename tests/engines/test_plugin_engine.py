"""The engine of a plugin that pip installed, in the real worker process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from tests.helpers.pip_install import installed_by_pip, needs_pip
from tests.helpers.stage import Stage
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.errors import EngineError, WorkerDied, WorkerHung
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.models import plugin_engines
from zwaif_hooks.messages import Sampling
from zwaif_hooks.plugins import PluginManager

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), needs_pip]
PLUGIN = Path(__file__).parents[1] / "helpers" / "echo_plugin"
ECHO = re.compile(r"I heard you say this: (.*)\. Echo number (\d+) says so\.")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed_by_pip(tmp_path_factory.mktemp("echo"), PLUGIN)


@pytest.fixture
def path(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))


@pytest.fixture
def model(
    site: Path, path: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[LocalModel]:
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("ZWAIF_BLOCK_PLUGINS", "fallback")
    complaints: list[str] = []
    manager = PluginManager(lambda line, error: complaints.append(line))
    manager.discover()
    plugin_engines.use(manager.engines)
    made = LocalModel(hang_timeout=getattr(request, "param", 60.0))
    yield made
    made.close()
    plugin_engines.use(tuple)
    for name in ("zwaif_echo", "zwaif_echo_engine"):
        sys.modules.pop(name, None)
    assert complaints == []


def asks(words: str, begun: str = "", **more: Any) -> Generation:
    return Generation(f"[user]{words}\n[assistant]{begun}", sampling=Sampling(temperature=0), **more)


def test_it_answers_in_the_worker_process(model: LocalModel) -> None:
    loaded = model.load(LoadOptions("echo:tiny"))
    assert (loaded.info.name, loaded.engine, loaded.info.context_window) == ("echo:tiny", "echo", 2048)
    stats = GenerationStats()
    found = ECHO.fullmatch("".join(model.generate(asks("Hello"), stats)))
    assert found is not None and found.groups() == ("Hello", str(model.pid)) != ("Hello", str(os.getpid()))
    assert (stats.generated_tokens, stats.finish_reason) == (11, "stop")
    assert "zwaif_echo_engine" not in sys.modules


def test_it_goes_on_where_a_reply_broke_off(model: LocalModel) -> None:
    model.load(LoadOptions("echo:tiny"))
    assert "".join(model.generate(asks("Hello", "I heard you say "))).startswith("this: Hello.")


@pytest.mark.parametrize("stop", ["say so", "s: Hel", "number"])
def test_its_text_is_cut_at_a_stop_text(model: LocalModel, stop: str) -> None:
    model.load(LoadOptions("echo:tiny"))
    whole = "".join(model.generate(asks("Hello")))
    stats = GenerationStats()
    assert "".join(model.generate(asks("Hello", stop=("nowhere", stop)), stats)) == whole.partition(stop)[0]
    assert stats.finish_reason == "stop"


def test_it_is_told_how_many_tokens_are_wanted(model: LocalModel) -> None:
    model.load(LoadOptions("echo:tiny"))
    stats = GenerationStats()
    assert "".join(model.generate(asks("Hello", max_tokens=3), stats)).split() == ["I", "heard", "you"]
    assert stats.finish_reason == "length"


def test_closing_a_reply_stops_it(model: LocalModel) -> None:
    model.load(LoadOptions("echo:tiny"))
    endless = model.generate(asks("for ever", max_tokens=10**9))
    assert next(endless) == "on and "
    endless.close()
    assert "Hello" in "".join(model.generate(asks("Hello")))


def test_a_killed_worker_is_started_again(model: LocalModel) -> None:
    model.load(LoadOptions("echo:tiny"))
    first = model.pid
    psutil.Process(first).kill()
    try:
        said = "".join(model.generate(asks("Hello")))
    except WorkerDied:  # it was not noticed before the request was sent
        said = "".join(model.generate(asks("Hello")))
    assert ECHO.fullmatch(said) and model.pid not in (first, None)


def test_reading_ahead_asks_nothing_of_it(model: LocalModel) -> None:
    model.load(LoadOptions("echo:tiny"))
    assert model.read_ahead("[user]fail\n[assistant]").generated_tokens == 0
    assert model.state == "ready"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gone:tiny", "Plugin 'echo': its engine could not be made: module 'zwaif_echo_engine' has no attribute"),
        ("bad:tiny", "Plugin 'echo': its engine could not load tiny: the echo chamber has no key"),
    ],
)
def test_a_broken_engine_gives_one_line(model: LocalModel, name: str, words: str) -> None:
    with pytest.raises(EngineError) as raised:
        model.load(LoadOptions(name))
    assert str(raised.value).startswith(words) and "\n" not in str(raised.value)


def test_a_failure_in_a_reply_gives_one_line_and_the_next_one_works(model: LocalModel) -> None:
    model.load(LoadOptions("echo:tiny"))
    with pytest.raises(EngineError, match="Plugin 'echo': its engine failed while it generated: the echo chamber is"):
        list(model.generate(asks("fail")))
    assert "Hello" in "".join(model.generate(asks("Hello")))


def test_a_process_that_its_engine_ends_is_told_with_the_plugins_name(model: LocalModel) -> None:
    model.load(LoadOptions("echo:tiny"))
    with pytest.raises(WorkerDied, match=r"^Plugin 'echo': its engine's process ended: exit code 3\.$"):
        list(model.generate(asks("die")))


@pytest.mark.parametrize("model", [3.0], indirect=True)
def test_an_engine_that_hangs_is_told_with_the_plugins_name(model: LocalModel) -> None:
    with pytest.raises(WorkerHung, match=r"^Plugin 'echo': echo:huge did not finish loading within "):
        model.load(LoadOptions("echo:huge"))
    model.load(LoadOptions("echo:tiny"))
    with pytest.raises(WorkerHung, match=r"^Plugin 'echo': its engine made no progress for 3 s and was ended"):
        list(model.generate(asks("hang")))


def test_it_can_wait_in_a_standby_process(model: LocalModel) -> None:
    options = LoadOptions("echo:tiny")
    model.stand_by(options)
    waiting = model.standing_by
    model.load(options)
    assert waiting is not None and model.pid == waiting


@pytest.mark.parametrize("factory", ["__name__ + ':Chamber'", "'chamber:Chamber'"])
def test_a_plugin_in_a_single_file_has_an_engine_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    (tmp_path / "chamber.py").write_text(CHAMBER % factory, encoding="utf-8")
    monkeypatch.setenv("ZWAIF_PLUGINS_DIR", str(tmp_path))
    monkeypatch.setenv("ZWAIF_ALLOW_PLUGINS", "chamber")
    monkeypatch.setenv("ZWAIF_BLOCK_PLUGINS", "fallback")
    manager = PluginManager(lambda line, error: pytest.fail(line))
    manager.discover()
    plugin_engines.use(manager.engines)
    local = LocalModel()
    try:
        assert local.load(LoadOptions("chamber:deep")).info.name == "chamber:deep"
        assert "".join(local.generate(asks("Hello"))) == "From the depths."
    finally:
        local.close()
        plugin_engines.use(tuple)
        del sys.modules["zwaif_plugin_file_chamber"]


CHAMBER = """
from dataclasses import dataclass

import zwaif_hooks as zw

@zw.hookimpl
def register_engines():
    return zw.EngineSpec("chamber", [zw.EngineModel("deep")], factory=%s)

@dataclass
class Chamber:
    said: str = "From the depths."

    def load(self, options):
        return zw.ModelInfo(options.model, family="tinyllama", context_window=2048)

    def count_tokens(self, text):
        return len(text.split())

    def generate(self, prompt):
        yield self.said
"""


def test_nothing_else_names_code_to_run(model: LocalModel, tmp_path: Path) -> None:
    """A model that no plugin declares gets no engine of a plugin, whatever it is called."""
    assert plugin_engines.order_for("echo:tiny")["by_plugin"]["factory"] == "zwaif_echo_engine:Echo"
    for name in ("echo:other", "other:tiny", "os:system", "zwaif_echo_engine:Echo", str(tmp_path / "echo:tiny")):
        assert plugin_engines.order_for(name) == {}
    plugin_engines.use(tuple)  # blocked, or gone
    assert plugin_engines.order_for("echo:tiny") == {}


def test_it_answers_an_outage_of_z_waif(path: None, tmp_path: Path) -> None:
    stage = Stage(tmp_path, "Oobabooga", API_FALLBACK_MODEL="echo:tiny", API_FALLBACK_PRELOAD="off")
    try:
        stage.do(fresh=True)
        stage.fails_with("refused")
        state = stage.do(say="Are you there?")
        assert state["error"] == ""
        (answer,) = state["answers"]
        assert answer["by"] == "echo:tiny" and "Are you there?" in answer["text"]
        assert "Fallback ready: echo:tiny on the engine of plugin echo" in stage.log.read_text("utf-8", "replace")
    finally:
        stage.close()


def test_if_it_is_broken_the_next_one_answers(path: None, tmp_path: Path) -> None:
    stage = Stage(tmp_path, "Oobabooga", API_FALLBACK_MODEL="bad:tiny", API_FALLBACK_PRELOAD="off")
    try:
        stage.do(fresh=True)
        stage.fails_with("refused")
        state = stage.do(say="Are you there?")
        assert state["error"] == "" and state["spoken"]
        log = stage.log.read_text("utf-8", "replace")
        assert "Plugin 'echo': its engine could not load tiny: the echo chamber has no key" in log
        assert "Successfully used fallback API: last words answered" in log
    finally:
        stage.close()


def command(*arguments: str, **environment: str) -> SimpleNamespace:
    done = subprocess.run(
        [sys.executable, "-m", "zwaif_fallback", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env=os.environ | environment,
    )
    return SimpleNamespace(rc=done.returncode, out=done.stdout, err=done.stderr)


def test_the_command_line_knows_its_models(path: None) -> None:
    listed = json.loads(command("models", "--json").out)
    rows = {row["setting"]: row for row in listed["found"] if row["source"] == "plugin echo"}
    assert set(rows) == {"echo:tiny", "echo:unmeasured", "echo:huge", "gone:tiny", "bad:tiny"}
    assert (rows["echo:tiny"]["fit"], rows["echo:huge"]["fit"]) == ("run by a plugin", "too big")
    assert (listed["auto"] or {}).get("setting") not in rows
    assert "plugin echo" in command("models").out
    chat = command("chat", "Hello", "--model", "echo:tiny", "--json")
    assert "I heard you say this: Hello." in json.loads(chat.out)["text"], chat.err
    assert "echo:tiny is run by the engine of plugin 'echo'" in command("doctor", API_FALLBACK_MODEL="echo:tiny").out


def test_a_blocked_plugin_has_no_engine(path: None) -> None:
    refused = command("chat", "Hello", "--model", "echo:tiny", ZWAIF_BLOCK_PLUGINS="echo")
    assert refused.rc == 1 and "There is no model called 'echo:tiny'" in refused.err
