"""``.env`` edited while Z-Waif runs: it counts for the next message, and no healthy one waits for a look at it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
import requests

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, Ask, ask, ask_http, ask_ollama, free_address
from tests.helpers.fault_server import HEALTHY, FaultServer
from tests.unit.test_reply_reader import Clock
from zwaif_hooks.failover.call import Call
from zwaif_hooks.failover.turn import Turn
from zwaif_hooks.guard_settings import GUARD_SETTINGS
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.stream import CancelScope, Chunk

__all__ = ["ask", "ask_http", "ask_ollama"]
STREAM = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
AS_WITHOUT_US = (requests.ConnectionError, httpx.ConnectError, ConnectionError)


@pytest.fixture
def env(guarded: Guarded, tmp_path: Path) -> Path:
    """The ``.env`` that the guards follow from now on."""
    path = tmp_path / ".env"
    switch(path, "ON")
    guarded.runtime.settings = SettingsStore(GUARD_SETTINGS, path, environ={}, say=guarded.lines.append)
    return path


def switch(env: Path, value: str) -> None:
    env.write_text(f"API_FALLBACK_ENABLED = {value}\n{'# by hand' if value == 'OFF' else ''}", encoding="utf-8")


@STREAM
def test_switched_off_when_all_was_well(
    guarded: Guarded, server: FaultServer, ask: Ask, env: Path, stream: bool
) -> None:
    assert ask(server.address, stream) == HEALTHY["healthy"]
    switch(env, "OFF")
    with pytest.raises(AS_WITHOUT_US):
        ask(free_address(), stream)
    assert guarded.plugin.asked == []


@STREAM
def test_switched_off_while_the_server_is_known_to_be_away(guarded: Guarded, ask: Ask, env: Path, stream: bool) -> None:
    address = free_address()
    assert ask(address, stream) == LOCAL
    switch(env, "OFF")
    with pytest.raises(AS_WITHOUT_US):
        ask(address, stream)


@STREAM
def test_switched_on(guarded: Guarded, ask: Ask, env: Path, stream: bool) -> None:
    address = free_address()
    switch(env, "OFF")
    guarded.runtime.settings.reload()
    with pytest.raises(AS_WITHOUT_US):
        ask(address, stream)
    switch(env, "ON")
    assert ask(address, stream) == LOCAL


class Looks:
    """A server that thinks for ``thought`` seconds, and what came when: the question, a look at ``.env``, the reply."""

    def __init__(self, guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.looked = threading.Event()
        self.thought = 0.0
        self._clock = Clock()
        self._runtime = replace(guarded.runtime, clock=self._clock)
        self._stamp = env_file.stamp
        monkeypatch.setattr(env_file, "stamp", self._look)

    def _look(self, path: Path) -> object:
        self.done.append("looked at .env")
        self.looked.set()
        return self._stamp(path)

    def _server(self, scope: CancelScope) -> Iterator[Chunk]:
        self.done.append("asked")
        self._clock.time += self.thought
        scope.before_read()
        self.done.append("replied")
        yield Chunk("Hello.", reason="stop")

    def reply(self) -> str:
        assert self._runtime.enabled
        call = Call("127.0.0.1:1", self._server, self._server, lambda: ChatRequest("oobabooga", ()), direct=True)
        return "".join(chunk.text for chunk in Turn(call, self._runtime).start(ahead=False).chunks())


@pytest.fixture
def looks(guarded: Guarded, env: Path, monkeypatch: pytest.MonkeyPatch) -> Looks:
    return Looks(guarded, monkeypatch)


def test_the_question_goes_out_first(looks: Looks) -> None:
    looks.thought = 0.1
    assert looks.reply() == "Hello."
    assert looks.done[:3] == ["asked", "looked at .env", "replied"]


def test_where_nothing_is_waited_for_the_look_comes_afterwards(looks: Looks) -> None:
    assert looks.reply() == "Hello."
    assert looks.looked.wait(20)
    assert looks.done[:3] == ["asked", "replied", "looked at .env"]


@pytest.mark.parametrize(("stream", "error"), [(True, httpx.ConnectError), (False, ConnectionError)])
def test_ollama_refuses_as_the_library_does(
    guarded: Guarded, ask_ollama: Ask, env: Path, stream: bool, error: type[Exception]
) -> None:
    switch(env, "OFF")
    with pytest.raises(error):
        ask_ollama(free_address(), stream)
    assert guarded.plugin.asked == []
