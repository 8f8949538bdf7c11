"""``.env`` edited while Z-Waif runs: it counts for the next message, and no healthy one waits for a look at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import requests

from tests.faults.conftest import Guarded
from tests.faults.server import HEALTHY, FaultServer
from tests.faults.test_clients import LOCAL, Ask, _free_address, ask, ask_http, ask_ollama
from zwaif_hooks.host import envfile
from zwaif_hooks.host.settings import SettingsStore
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.pump import Chunk, Closers
from zwaif_hooks.settings import GUARD_SETTINGS
from zwaif_hooks.takeover import Call, Turn

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
        ask(_free_address(), stream)
    assert guarded.plugin.asked == []


@STREAM
def test_switched_off_while_the_server_is_known_to_be_away(guarded: Guarded, ask: Ask, env: Path, stream: bool) -> None:
    address = _free_address()
    assert ask(address, stream) == LOCAL
    switch(env, "OFF")
    with pytest.raises(AS_WITHOUT_US):
        ask(address, stream)


@STREAM
def test_switched_on(guarded: Guarded, ask: Ask, env: Path, stream: bool) -> None:
    address = _free_address()
    switch(env, "OFF")
    guarded.runtime.settings.reload()
    with pytest.raises(AS_WITHOUT_US):
        ask(address, stream)
    switch(env, "ON")
    assert ask(address, stream) == LOCAL


def test_the_question_goes_out_first(guarded: Guarded, env: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    stamp = envfile.stamp

    def look(path: Path) -> object:
        done.append("looked at .env")
        return stamp(path)

    def server(closers: Closers) -> Iterator[Chunk]:
        done.append("asked")
        assert closers.patience is not None
        closers.patience.before_bytes()
        yield Chunk("Hello.", reason="stop")

    monkeypatch.setattr(envfile, "stamp", look)
    assert guarded.runtime.enabled
    call = Call("127.0.0.1:1", server, server, lambda: ChatRequest("oobabooga", ()), direct=True)
    assert "".join(chunk.text for chunk in Turn(call, guarded.runtime).start(ahead=False).chunks()) == "Hello."
    assert done == ["asked", "looked at .env"]


@pytest.mark.parametrize(("stream", "error"), [(True, httpx.ConnectError), (False, ConnectionError)])
def test_ollama_refuses_as_the_library_does(
    guarded: Guarded, ask_ollama: Ask, env: Path, stream: bool, error: type[Exception]
) -> None:
    switch(env, "OFF")
    with pytest.raises(error):
        ask_ollama(_free_address(), stream)
    assert guarded.plugin.asked == []
