"""``zwaif_hooks.hooks``: mypy finds a wrong hook, and a right one works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zwaif_hooks as zw
from zwaif_hooks import specs
from zwaif_hooks.hooks import Hook

ROOT = Path(__file__).parents[2]

GOOD = """
from __future__ import annotations
from collections.abc import Callable, Iterator, Sequence
from typing import Any
import zwaif_hooks as zw

@zw.hookimpl
def fallback_answered(record: zw.AnswerRecord) -> None:
    zw.log.say(record.text)

@zw.hooks.register_settings
def settings() -> zw.Setting:
    return zw.Setting("PARROT_NAME", "Polly", "Its name.")

@zw.hooks.register_engines
def engines() -> zw.EngineSpec:
    return zw.EngineSpec("echo", [zw.EngineModel("tiny")], "zwaif_echo.engine:Echo")

class Echo:
    def load(self, options: zw.EngineOptions) -> zw.ModelInfo:
        return zw.ModelInfo(options.model)

    def count_tokens(self, text: str) -> int:
        return len(text)

    def generate(self, prompt: zw.EnginePrompt) -> Iterator[str]:
        yield prompt.text

made: zw.Engine = Echo()

@zw.hooks.zwaif_started
def started(host: zw.Host) -> None:
    zw.log.say(str(host.settings.get("PARROT_NAME")))

@zw.hooks.on_primary_failure
def on_primary_failure(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> Iterator[str] | None:
    if request.purpose is not zw.Purpose.CHAT:
        raise zw.PluginProblem("only chat", retry_after=60)
    return iter(["Hello."])

@zw.hooks.say_while_waiting(trylast=True)
def line(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> str:
    return "One moment."

@zw.hooks.format_prompt
def format_prompt(messages: Sequence[zw.Message], model: zw.ModelInfo, partial: str) -> str | None:
    return None if zw.API_VERSION < (1, 1) else partial

@zw.hooks.before_request
def pirate(request: zw.ChatRequest) -> zw.ChatRequest | None:
    return None

@zw.hooks.turn_finished
def finished(record: zw.TurnRecord) -> None:
    print(record.seconds)

@zw.hooks.register_settings_ui
def section(gradio: Any, host: zw.Host) -> None:
    gradio.HTML("hello")

@zw.hooks.register_settings_ui
def live(gradio: Any, host: zw.Host, page: Any, tab: Any, every: zw.Every) -> None:
    every(1, lambda: "now", gradio.HTML())

@zw.hooks.register_settings_ui(tryfirst=True)
def first_section(gradio: Any, host: zw.Host) -> None:
    gradio.HTML("first")

@zw.hooks.register_settings_ui(trylast=True)
def last_section(gradio: Any, host: zw.Host, page: Any, tab: Any, every: zw.Every) -> None:
    every(2.5, lambda: ("a", "b"), outputs=[gradio.HTML(), gradio.HTML()])

@zw.hooks.primary_answered
def answered(primary: str, describe: Callable[[], zw.ChatRequest], reply: object) -> None:
    print(describe().messages)
"""

WRONG = """
from __future__ import annotations
from typing import Any
import zwaif_hooks as zw

@zw.hooks.on_primary_failure  # a misspelt argument
def answer(reqest: zw.ChatRequest, failure: zw.PrimaryFailure) -> str: return ""

@zw.hooks.on_primary_failure  # a missing argument
def fewer(request: zw.ChatRequest) -> str: return ""

@zw.hooks.on_primary_failure  # another type of argument
def typed(request: str, failure: zw.PrimaryFailure) -> str: return ""

@zw.hooks.on_primary_failure  # another result
def number(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> int: return 1

@zw.hooks.on_primary_failur  # no such hook
def misspelt(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> str: return ""

@zw.hooks.fallback_answered(trylast=True)  # another result, with an option
def told(record: zw.AnswerRecord) -> str: return ""

@zw.hooks.register_settings_ui  # a missing argument
def no_host(gradio: Any) -> None: ...

@zw.hooks.register_settings_ui  # neither two arguments nor all
def three(gradio: Any, host: zw.Host, every: zw.Every) -> None: ...

@zw.hooks.register_settings_ui  # a misspelt argument
def page_(gradio: Any, host: zw.Host, paeg: Any, tab: Any, every: zw.Every) -> None: ...

@zw.hooks.register_settings_ui(trylast=True)  # another result, with an option
def shown(gradio: Any, host: zw.Host) -> str: return ""

@zw.hooks.register_settings_ui
def wrong_call(gradio: Any, host: zw.Host, page: Any, tab: Any, every: zw.Every) -> None:
    every("1", lambda: "now", gradio.HTML())  # another type of seconds

answer_ = zw.Answer(None)  # another type of pieces
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, int]]:
    """File and line of every error that ``mypy --strict`` finds in the two plugins."""
    folder = tmp_path_factory.mktemp("typed")
    for name, code in (("good", GOOD), ("wrong", WRONG)):
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=cache", "good.py", "wrong.py"],
        cwd=folder,
        env={**os.environ, "MYPYPATH": str(ROOT / "hooks")},
        capture_output=True,
        text=True,
        timeout=110,
    )
    found = re.findall(r"^(\w+)\.py:(\d+): error", done.stdout, re.MULTILINE)
    assert found, done.stdout + done.stderr
    return [(name, int(line)) for name, line in found]


@pytest.mark.slow
def test_mypy_has_nothing_against_a_right_plugin(checked: list[tuple[str, int]]) -> None:
    assert [line for name, line in checked if name == "good"] == []


@pytest.mark.slow
def test_mypy_finds_every_wrong_hook_and_nothing_else(checked: list[tuple[str, int]]) -> None:
    marked = [number for number, line in enumerate(WRONG.splitlines(), 1) if "  # " in line]
    assert sorted({line for name, line in checked if name == "wrong"}) == marked


def test_every_hook_has_a_typed_decorator() -> None:
    specified = {name for name, item in vars(specs).items() if hasattr(item, f"{specs.PROJECT}_spec")}
    assert {name: item.name for name, item in vars(zw.hooks).items() if isinstance(item, Hook)} == {
        name: name for name in specified
    }


def test_a_typed_hook_is_called_whatever_its_name_is() -> None:
    lines: list[str] = []
    manager = zw.PluginManager(lambda line, error: lines.append(line))

    class Plugin:
        @staticmethod
        @zw.hooks.say_while_waiting(tryfirst=True)
        def anything(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> str:
            return "One moment."

    assert manager.register(Plugin(), "typed")
    request = zw.ChatRequest("oobabooga", (zw.Message("user", "Hi"),))
    assert manager.line_while_waiting(request, zw.PrimaryFailure(zw.FailureKind.REFUSED, "x")) == "One moment."
    assert lines == []
