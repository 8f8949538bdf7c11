"""Ours as it is wired in a running Z-Waif: guard of ``requests``, real clock, settings file, turn log, fallback host.

The bare client that it stands on is ``requests.post`` read with sseclient-py, as Z-Waif does it.
"""

from __future__ import annotations

import json
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests
import sseclient

from benchmarks.failover.contender import DEADLINE, Heard, Threaded
from zwaif_fallback.addresses import same_server
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.second_server import SecondServerClient
from zwaif_fallback.answering.second_server_tier import SecondServerTier
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.guard_settings import GUARD_SETTINGS
from zwaif_hooks.guards import http, swap
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.messages import Answer, ChatRequest, PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.turn_log import TurnLog


class BareRequests(Threaded):
    """No fallback."""

    def __init__(self, primary: str, _: str = "") -> None:
        self._url = f"http://{primary}/v1/chat/completions"

    def stream(self, question: str, heard: Heard) -> None:
        body = {"messages": [{"role": "user", "content": question}], "stream": True, "mode": "chat", "model": "m"}
        response = requests.post(self._url, json=body, verify=False, stream=True)
        response.raise_for_status()
        for event in sseclient.SSEClient(response).events():  # type: ignore[arg-type]
            if event.data == "[DONE]":
                break
            choices = json.loads(event.data)["choices"]
            heard.piece(choices[0]["delta"].get("content") if choices else None)


class Ours(BareRequests):
    """The guard is in place only while a turn of ours runs, so that the bare client beside it is bare."""

    def __init__(self, primary: str, second: str) -> None:
        super().__init__(primary)
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        tree = Path(self._folder.name)
        lines = f"API_FALLBACK_FIRST_TOKEN_TIMEOUT = {DEADLINE}\nAPI_FALLBACK_STALL_TIMEOUT = {DEADLINE}\n"
        (tree / ".env").write_text(lines, encoding="utf-8")
        settings = SettingsStore(GUARD_SETTINGS, tree / ".env", environ={}, say=_unsaid)
        plugins = PluginManager(_unreported)
        plugins.register(SecondServer(second), "second")
        self._primaries = PrimaryRegistry(lambda name, failure, seconds: None)
        records = TurnLog(tree / "turns.jsonl")
        runtime = Runtime(tree, settings, plugins, self._primaries, _unsaid, _unreported, records=records)
        http.install(requests.sessions, runtime)
        self._guarded: Any = requests.Session.request
        swap.restore(requests.Session, "request")

    def ask(self, question: str) -> Heard:
        with self:
            return super().ask(question)

    def herd(self, questions: list[str]) -> list[Heard]:
        with self, ThreadPoolExecutor(len(questions)) as pool:
            return list(pool.map(super().ask, questions))

    def __enter__(self) -> None:
        requests.Session.request = self._guarded  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        swap.restore(requests.Session, "request")

    def close(self) -> None:
        self._primaries.shut_down()
        self._folder.cleanup()


class SecondServer:
    """The package's own tier for a fallback host, without a local model behind it."""

    def __init__(self, address: str) -> None:
        tier = SecondServerTier(address, lambda: SecondServerClient(address, "m"))
        self._chain = Chain(lambda request: [] if same_server(address, request.primary) else [tier], _unsaid)

    @hookimpl
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        return self._chain.answer(request, failure)


def _unsaid(_: str) -> None:
    """A console costs what a console costs, for everybody; nobody's is measured."""


def _unreported(line: str, error: BaseException | None) -> None:
    raise AssertionError(line) from error
