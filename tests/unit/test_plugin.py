"""The plugin as Z-Waif's side sees it: through the real plugin manager."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback import plugin
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.local import model as supervisor
from zwaif_fallback.prompt import formats
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks import log
from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.failover.takeover import MEANWHILE
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.host_handle import Host
from zwaif_hooks.messages import AnswerRecord, ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.specs import hookimpl

HELLO = ChatRequest("oobabooga", (Message("user", "Hello"),))
DOWN = PrimaryFailure(FailureKind.REFUSED, "connection refused by 127.0.0.1:5000")


class Local:
    """Says its own prompt's last line, so that the prompt can be seen in the reply."""

    def __init__(self, hang_timeout: float, say: Callable[[str], None]) -> None:
        self.hang_timeout, self.say = hang_timeout, say
        self.loaded: LoadedModel | None = None
        self.closed = False

    def load(self, options: LoadOptions, progress: Callable[[str], None]) -> LoadedModel:
        info = ModelInfo(Path(options.model).name, "phi", 2048, "{{ raise_exception('odd template') }}")
        self.loaded = LoadedModel(info, "scripted")
        return self.loaded

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        return iter(["I read: ", generation.prompt.splitlines()[0], "."])

    def read_ahead(self, prompt: str) -> GenerationStats:
        return GenerationStats()

    def try_again(self) -> None:
        """No model of these hangs."""

    @property
    def standing_by(self) -> None:
        """Nobody."""

    def stand_by(self, options: LoadOptions) -> None:
        """Nothing is there to be imported."""

    def dismiss(self) -> None:
        """Nobody stands by."""

    def unload(self) -> None:
        self.loaded = None

    def close(self) -> None:
        self.closed = True


class Stage:
    def __init__(self, tree: Path, **values: str) -> None:
        (tree / "tiny").mkdir()
        for file in ("config.json", "model.safetensors"):
            (tree / "tiny" / file).write_text("{}", encoding="utf-8")
        lines = {"API_FALLBACK_MODEL": "tiny"} | values
        (tree / ".env").write_text("".join(f"{name} = {value}\n" for name, value in lines.items()), encoding="utf-8")
        self.problems: list[str] = []
        self.manager = PluginManager(lambda line, error: self.problems.append(line))
        assert self.manager.register(plugin, "fallback")
        store = SettingsStore(env_path=tree / ".env", environ={})
        self.host = Host(tree, store, PrimaryRegistry(lambda name, failure, seconds: None), self.manager)

    def start(self) -> None:
        self.manager.hook.zwaif_started(host=self.host)

    def reply(self, failure: PrimaryFailure = DOWN) -> str:
        answered = self.manager.answer(HELLO, failure)
        assert answered is not None
        return "".join(answered[1].pieces)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    lines: list[str] = []
    monkeypatch.setattr(log, "say", lines.append)
    monkeypatch.setattr(supervisor, "LocalModel", Local)
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    yield lines
    plugin.forget()


def test_the_plugin_fits_the_specifications(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    assert stage.problems == []
    assert stage.manager.names() == ["fallback"]


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys; sys.path[:0] = ['.', 'hooks']; from zwaif_fallback import plugin; plugin.service();"
        "assert not {'torch', 'transformers', 'gradio', 'huggingface_hub'} & set(sys.modules)"
    )
    root = Path(plugin.__file__).parents[1]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, cwd=root)


def test_settings_are_registered_and_the_fallback_is_checked_at_start(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start()
    assert stage.host.settings.get("API_FALLBACK_MODEL") == "tiny"
    assert stage.problems == [] and any(line.startswith("Fallback ready: ") for line in said)


def test_switched_off_it_says_nothing(said: list[str], tmp_path: Path) -> None:
    Stage(tmp_path, API_FALLBACK_ENABLED="OFF").start()
    assert said == []


@pytest.mark.parametrize(
    ("kind", "status", "remedy"),
    [
        (FailureKind.NO_MODEL, None, "Load one there"),
        (FailureKind.MISCONFIGURED, 404, "Check the address, the model's name and the key"),
        (FailureKind.MISCONFIGURED, 400, "Its words say what to change"),
        (FailureKind.REFUSED, None, "Start it"),
        (FailureKind.FIRST_TOKEN_TIMEOUT, None, "restart it"),
    ],
)
def test_an_outage_is_told_with_what_only_the_user_can_do(
    said: list[str], tmp_path: Path, kind: FailureKind, status: int | None, remedy: str
) -> None:
    stage = Stage(tmp_path)
    failure = PrimaryFailure(kind, "a cause", status=status)
    stage.manager.hook.primary_failed(primary="127.0.0.1:5000", failure=failure)
    (line,) = (
        line
        for line in said
        if line.startswith(f"127.0.0.1:5000 {failure_messages.what(failure)}: replies come from the")
    )
    assert remedy in line
    assert "a cause" not in line
    assert f"127.0.0.1:5000: {kind.value} after 0.0 s: a cause" in log.log_path().read_text(encoding="utf-8")


def test_a_failure_is_answered_by_the_local_model(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start()
    assert stage.reply() == "I read: Human: Hello.", "an unusable template gives way to the family's format"
    assert stage.problems == []


def test_every_other_plugin_goes_first_whoever_came_first(said: list[str], tmp_path: Path) -> None:
    class Other:
        @hookimpl
        def on_primary_failure(self, request: ChatRequest) -> str:
            return "Mine."

        @hookimpl
        def say_while_waiting(self) -> str:
            return "My line."

        @hookimpl
        def format_prompt(self) -> str:
            return "My prompt."

    manager = PluginManager(lambda line, error: None)
    manager.register(Other(), "other")
    manager.register(plugin, "the package's own")
    assert manager.answerers() == ["other", "the package's own"]
    assert manager.line_while_waiting(HELLO, DOWN) == "My line."
    assert manager.format_prompt(HELLO.messages, ModelInfo("m"), "") == "My prompt."


def test_another_plugin_may_answer_first(said: list[str], tmp_path: Path) -> None:
    class Other:
        @hookimpl
        def on_primary_failure(self, request: ChatRequest) -> str:
            return "Mine."

    stage = Stage(tmp_path)
    stage.manager.register(Other(), "other")
    assert stage.reply() == "Mine."


def test_a_failing_plugin_leaves_the_answer_to_us(said: list[str], tmp_path: Path) -> None:
    class Broken:
        @hookimpl
        def on_primary_failure(self, request: ChatRequest) -> str:
            raise RuntimeError("broken")

    stage = Stage(tmp_path)
    stage.start()
    stage.manager.register(Broken(), "broken")
    assert stage.reply() == "I read: Human: Hello."
    assert "broken" in stage.problems[0]


def test_another_plugin_may_write_the_prompt(said: list[str], tmp_path: Path) -> None:
    class Poet:
        @hookimpl
        def format_prompt(self, messages: Sequence[Message], partial: str) -> str:
            return f"Ode to {messages[-1].content}{partial}"

    stage = Stage(tmp_path)
    stage.start()
    stage.manager.register(Poet(), "poet")
    assert stage.reply() == "I read: Ode to Hello."


def test_a_prompt_for_our_model_is_not_asked_of_our_own_plugin(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start()
    assert list(plugin._ask_other_plugins(ModelInfo("m"))) == []
    written = stage.manager.format_prompt(HELLO.messages, ModelInfo("m"), "")
    assert written == formats.write(HELLO.messages, ModelInfo("m")), "other plugins get a prompt from it"


def test_it_works_before_z_waif_has_started(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage(tmp_path)
    monkeypatch.setenv("API_FALLBACK_MODEL", str(tmp_path / "tiny"))
    assert stage.reply() == "I read: Human: Hello."


def test_a_given_reply_is_logged(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start()
    record = AnswerRecord(replace(HELLO, primary="127.0.0.1:5000"), DOWN, "fallback", "tiny", "Hi.", 0.84, 3.26)
    stage.manager.hook.fallback_answered(record=record)
    expected = "Successfully used fallback API: tiny answered, as 127.0.0.1:5000 is down (first words after 0.8 s)"
    assert said[-1] == expected


def test_a_reply_that_was_not_ready_in_time_is_prepared_for_the_next_message(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start()
    record = AnswerRecord(HELLO, DOWN, MEANWHILE, MEANWHILE, "One moment …", 24.1, 24.1)
    stage.manager.hook.fallback_answered(record=record)
    assert not any("Successfully" in line for line in said)
    assert any(line.startswith("No reply was ready after 24 s, so only a short line was said") for line in said)
    assert plugin.service().early.wait(20)
    assert any(line.startswith("Fallback ready: tiny") for line in said), "it was loaded to the end"


def test_an_outage_loads_ahead_and_its_end_is_said(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start()
    stage.manager.hook.primary_failed(primary="127.0.0.1:5000", failure=DOWN)
    assert plugin.service().loader.wait(20)
    assert any(line.startswith("Fallback ready: tiny") for line in said)
    stage.manager.hook.primary_recovered(primary="127.0.0.1:5000", outage_seconds=61.2)
    assert said[-1] == "127.0.0.1:5000 is back after 61 s and gets the next message"


def test_a_setting_changed_on_the_page_acts_at_once(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start()
    stage.reply()
    other = tmp_path / "other"
    other.mkdir()
    for file in ("config.json", "model.safetensors"):
        (other / file).write_text("{}", encoding="utf-8")
    stage.host.settings.set("API_FALLBACK_MODEL", "other")
    assert plugin.service().loader.wait(20)
    loaded = plugin.service().controls.loaded()
    assert loaded is not None and loaded.info.name == "other"


def test_the_worker_ends_with_the_service(said: list[str], tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.start()
    local: Any = plugin.service()._parts.local
    assert isinstance(local, Local) and local.hang_timeout == 60.0
    plugin.forget()
    assert local.closed


def test_a_fallback_host_is_asked(said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Server:
        def __init__(self, address: str, model: str) -> None:
            self.name = address

        def stream(self, messages: Sequence[Message], **options: object) -> Iterator[str]:
            return iter(["From afar."])

    monkeypatch.setattr(plugin, "_second_server", Server)
    stage = Stage(tmp_path, API_FALLBACK_HOST="10.0.0.1:8080")
    stage.start()
    assert stage.reply() == "From afar."


def test_a_fallback_host_that_is_down_is_said_and_passed_over(said: list[str], tmp_path: Path) -> None:
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        stage = Stage(tmp_path, API_FALLBACK_HOST=address)
        stage.start()
        for _ in range(3):
            assert stage.reply() == "I read: Human: Hello."
        assert len([line for line in said if address in line]) == 1, "once an outage"
        stage.manager.hook.primary_recovered(primary="127.0.0.1:5000", outage_seconds=3.0)
        assert stage.reply() == "I read: Human: Hello."
    lines = [line for line in said if address in line]
    assert lines == [f"The second server {address} gave no reply: it is down."] * 2
