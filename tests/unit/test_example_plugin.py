"""The parrot of docs/plugins.md: installed as a user would, found by its entry point, asked through the manager."""

from __future__ import annotations

import configparser
import shutil
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.pip_install import installed_by_pip, needs_pip
from zwaif_hooks import log
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.host_handle import Host
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, PrimaryFailure, Purpose
from zwaif_hooks.plugins import PluginManager

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "zwaif-parrot"
FAILURE = PrimaryFailure(FailureKind.REFUSED, "connection refused by 127.0.0.1:5000")


def asks(text: str, purpose: Purpose = Purpose.CHAT) -> ChatRequest:
    return ChatRequest("oobabooga", (Message("user", text),), purpose=purpose)


@pytest.fixture(autouse=True)
def only_the_parrot(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ZWAIF_BLOCK_PLUGINS", "fallback")
    monkeypatch.delenv("ZWAIF_TRACE_PLUGINS", raising=False)
    monkeypatch.delenv("PARROT_NAME", raising=False)
    sys.modules.pop("zwaif_parrot", None)
    yield
    sys.modules.pop("zwaif_parrot", None)


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PluginManager:
    """With the parrot found through the entry point that its own setup.cfg declares."""
    site = tmp_path / "site"
    put_beside(site, "parrot", entry_point())
    shutil.copy(EXAMPLE / "zwaif_parrot.py", site)
    monkeypatch.syspath_prepend(str(site))
    return discovered()


def entry_point() -> str:
    config = configparser.ConfigParser()
    config.read(EXAMPLE / "setup.cfg", encoding="utf-8")
    return config["options.entry_points"]["zwaif"].strip()


def put_beside(site: Path, name: str, line: str) -> None:
    info = site / f"{name}-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[zwaif]\n{line}\n", encoding="utf-8")


def discovered() -> PluginManager:
    lines: list[str] = []
    made = PluginManager(lambda line, error: lines.append(line))
    made.discover()
    assert lines == []
    return made


def test_the_parrot_answers_when_it_is_called(manager: PluginManager) -> None:
    found = manager.answer(asks("Polly, hello there"), FAILURE)
    assert found is not None
    name, answer = found
    assert (name, list(answer.pieces)) == ("parrot", ["Squawk! ", "hello there! hello there! "])


@pytest.mark.parametrize(
    ("request_", "failure"),
    [
        (asks("Hello"), FAILURE),
        (asks("Polly, sum up", Purpose.SUMMARY), FAILURE),
        (asks("Polly, go on"), PrimaryFailure(FailureKind.CUT, "broke", delivered="Once upon")),
    ],
    ids=["not called", "a summary", "already begun"],
)
def test_the_parrot_leaves_the_rest_to_others(
    manager: PluginManager, request_: ChatRequest, failure: PrimaryFailure
) -> None:
    assert manager.answer(request_, failure) is None


def test_the_parrot_listens_to_the_name_in_the_settings(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(log, "say", said.append)
    (tmp_path / ".env").write_text("PARROT_NAME = Coco\n", encoding="utf-8")
    settings = SettingsStore((), tmp_path / ".env")
    manager.register_settings(settings)
    parts: dict[str, Any] = {field.name: None for field in fields(Host)}
    manager.hook.zwaif_started(host=Host(**{**parts, "tree": tmp_path, "settings": settings, "plugins": manager}))
    assert said == ["Coco the parrot is awake"]
    assert manager.answer(asks("Coco, hello"), FAILURE) is not None
    assert manager.answer(asks("Polly, hello"), FAILURE) is None


def test_a_blocked_parrot_is_not_even_imported(
    manager: PluginManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sys.modules.pop("zwaif_parrot")
    monkeypatch.setenv("ZWAIF_BLOCK_PLUGINS", "fallback, parrot")
    assert "parrot" not in discovered().names()
    assert "zwaif_parrot" not in sys.modules


@pytest.mark.slow
@needs_pip
def test_pip_installs_the_parrot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = installed_by_pip(tmp_path, EXAMPLE)
    monkeypatch.syspath_prepend(str(target))
    found = discovered().answer(asks("Polly, hello"), FAILURE)
    assert found is not None and "".join(found[1].pieces) == "Squawk! hello! hello! "
