"""Two client libraries, read as Z-Waif reads them; each is asked with its guard in place and without."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import requests
import sseclient

from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.guard_settings import GUARD_SETTINGS
from zwaif_hooks.guards import http, swap
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.turn_log import TurnLog


@dataclass
class Heard:
    """One turn; all times in nanoseconds of ``perf_counter_ns``."""

    began: int = 0
    arrived: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    ended: int = 0

    def piece(self, text: str) -> None:
        if text:
            self.arrived.append(time.perf_counter_ns())
            self.texts.append(text)


class Requests:
    """``requests.post`` and sseclient-py."""

    name = "requests"

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/v1/chat/completions"

    def stream(self, manner: str, heard: Heard) -> None:
        body = {"messages": [{"role": "user", "content": manner}], "stream": True, "mode": "chat", "max_tokens": 9000}
        heard.began = time.perf_counter_ns()
        response = requests.post(self._url, headers={"Content-Type": "application/json"}, json=body, stream=True)
        for event in sseclient.SSEClient(response).events():  # type: ignore[arg-type]
            heard.piece(json.loads(event.data)["choices"][0]["delta"]["content"])
        heard.ended = time.perf_counter_ns()

    def install(self, runtime: Runtime) -> None:
        http.install(requests.sessions, runtime)

    owner: Any = requests.Session
    attribute = "request"


class Ollama:
    """``ollama.Client.chat``, one client for the life of the process."""

    name = "ollama"
    attribute = "chat"

    def __init__(self, address: str) -> None:
        import ollama

        self.owner: Any = ollama.Client
        self._client = ollama.Client(host=f"http://{address}")

    def stream(self, manner: str, heard: Heard) -> None:
        messages = [{"role": "user", "content": manner}]
        options = {"num_predict": 9000}
        heard.began = time.perf_counter_ns()
        for part in self._client.chat(model="m", messages=messages, stream=True, options=options):
            heard.piece(part["message"]["content"])
        heard.ended = time.perf_counter_ns()

    def install(self, runtime: Runtime) -> None:
        from zwaif_hooks.guards import ollama as guard

        guard.install(sys.modules["ollama._client"], runtime)


Client = Requests | Ollama


class Guarded:
    """The guard of one client as in a running Z-Waif (real clock, ``.env``, record file), put in on demand."""

    def __init__(self, client: Client, folder: Path, hook: str = "") -> None:
        """``hook``: one that a plugin implements."""
        self._client = client
        (folder / ".env").write_text("API_FALLBACK_ENABLED = ON\n", encoding="utf-8")
        settings = SettingsStore(GUARD_SETTINGS, folder / ".env", environ={}, say=_unsaid)
        primaries = PrimaryRegistry(lambda name, failure, seconds: None)
        records = TurnLog(folder / "turns.jsonl")
        plugins = PluginManager(_unreported)
        if hook:
            plugins.register(SimpleNamespace(**{hook: hookimpl(lambda: None)}), "listener", guarded=True)
        runtime = Runtime(folder, settings, plugins, primaries, _unsaid, _unreported, records=records)
        client.install(runtime)
        self._guard = getattr(client.owner, client.attribute)
        swap.restore(client.owner, client.attribute)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        setattr(self._client.owner, self._client.attribute, self._guard)
        try:
            yield
        finally:
            swap.restore(self._client.owner, self._client.attribute)


@contextmanager
def guarded(client: Client, hook: str = "") -> Iterator[Guarded]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        yield Guarded(client, Path(folder), hook)


def _unsaid(line: str) -> None:
    raise AssertionError(f"a healthy turn has nothing to say: {line}")


def _unreported(line: str, error: BaseException | None = None) -> None:
    raise AssertionError(f"a healthy turn has nothing to report: {line}") from error
