"""From a server that has just died to the first token, through the guard, beside the engine's own warm time.

    python -m benchmarks.prefix.takeover [--size 110m] [--tokens 1000] [--turns 8]

A chat goes on with a real server on loopback while the local model is kept warm beside it. At each turn the server
refuses one request. ``Takeover`` is the time from ``requests.post`` to the first text; ``engine`` is the same prompt
once more, asked of the engine itself as warm as it was; ``cold`` is what it takes when nothing was read.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import requests

from benchmarks.prefix.model import SIZES
from benchmarks.prefix.run import Bench, Watched
from benchmarks.prefix.shapes import Talk, lmstudio
from zwaif_fallback.answering.service import Collaborators, FallbackService
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.guards import http, swap
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.messages import Answer, ChatRequest, PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.turn_log import TurnLog

WAIT = 300.0


class Server:
    """Answers with one reply, or refuses."""

    def __init__(self) -> None:
        self.reply, self.dead = "", False
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                if outer.dead:
                    return self.send_error(503)
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.end_headers()
                for piece, reason in ((outer.reply, None), ("", "stop")):
                    choice = {"delta": {"content": piece}, "finish_reason": reason}
                    self.wfile.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1/chat/completions"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


class OneToken(Watched):
    """Stops after the first token and says a word in its place, as random weights seldom make one."""

    generation = Generation("")

    @property
    def loaded(self) -> LoadedModel | None:
        return self.local.loaded

    def load(self, options: LoadOptions, progress: Callable[[str], None] = print) -> LoadedModel:
        return self.local.load(options, progress)

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        self.generation = replace(generation, max_tokens=1, stop=())
        for _ in super().generate(generation):
            pass
        yield "Well."

    def read_ahead(self, prompt: str) -> GenerationStats:
        return self.local.read_ahead(prompt)

    def try_again(self) -> None:
        self.local.try_again()

    def unload(self) -> None:
        self.local.unload()

    def close(self) -> None:
        self.local.close()


class Plugin:
    """The package's plugin, with a service of its own."""

    def __init__(self, service: FallbackService) -> None:
        self.service = service

    @hookimpl
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        return self.service.answer(request, failure)

    @hookimpl
    def primary_answered(self, describe: Callable[[], ChatRequest], reply: str) -> None:
        self.service.primary_answered(describe, reply)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES), default="110m")
    parser.add_argument("--tokens", type=int, default=1000, help="of history")
    parser.add_argument("--turns", type=int, default=8)
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, contextlib.closing(Server()) as server:
        bench = Bench(Path(folder), asked.size)
        with contextlib.closing(bench.local):
            takeover, engine, cold = measure(bench, server, Path(folder), asked)
    own = statistics.median(after - alone for after, alone in zip(takeover, engine, strict=True))
    print(f"{asked.size}, {asked.tokens} tokens of history, medians of {asked.turns} turns:")
    print(f"takeover {statistics.median(takeover):.0f} ms, engine {statistics.median(engine):.0f} ms, "
          f"cold {statistics.median(cold):.0f} ms; ours on top of the engine: {own:.0f} ms")  # fmt: skip
    return 0


def measure(bench: Bench, server: Server, folder: Path, asked: Any) -> tuple[list[float], list[float], list[float]]:
    settings = SettingsStore(SETTINGS, env_path=folder / ".env", environ={})
    settings.set("API_FALLBACK_PRELOAD", "warm")
    settings.set("API_FALLBACK_MODEL", str(folder))
    local = OneToken(bench.local)
    service = FallbackService(Collaborators(settings, local, _no_remote, _quiet, tree=folder))
    plugins = PluginManager(_quiet)
    plugins.register(Plugin(service), "fallback")
    talk = Talk(limit=bench.history_of(asked.tokens)).grown_to(bench.history_of(asked.tokens))
    takeover, engine, cold = list[float](), list[float](), list[float]()
    with guarded(folder, settings, plugins) as forget_the_outage:
        for _ in range(asked.turns):
            server.reply, server.dead = talk.reply(), False
            ask(server.url, talk)
            service.early.wait(WAIT)
            talk.answered()
            server.dead = True
            takeover.append(ask(server.url, talk))
            warm = local.generation
            cold.append(_cold(bench, warm))
            bench.forget()
            bench.local.read_ahead(_known_before(warm.prompt))
            engine.append(_timed(bench, warm))
            forget_the_outage()
    return takeover, engine, cold


def _known_before(prompt: str) -> str:
    """What of ``prompt`` was read ahead: up to where the newest turn's notes begin."""
    return prompt[: prompt.rindex("(Keep in mind:")]


def _cold(bench: Bench, generation: Generation) -> float:
    bench.forget()
    return _timed(bench, generation)


def ask(url: str, talk: Talk) -> float:
    """Milliseconds to the first text of a streamed reply, which is read to its end."""
    body = {
        "messages": [{"role": m.role, "content": m.content} for m in lmstudio(talk).messages],
        "max_tokens": 200,
        "stream": True,
    }
    began, first = time.perf_counter(), 0.0
    with requests.post(url, json=body, stream=True) as response:
        for line in response.iter_lines(chunk_size=1):
            if line.startswith(b"data:") and not first:
                first = (time.perf_counter() - began) * 1000
    return first


@contextlib.contextmanager
def guarded(folder: Path, settings: SettingsStore, plugins: PluginManager) -> Iterator[Callable[[], None]]:
    """``requests`` with the guard in place; yields what makes it forget the last outage."""
    runtime = Runtime(
        folder, settings, plugins, PrimaryRegistry(_unheard), _quiet, _quiet, records=TurnLog(folder / "turns.jsonl")
    )

    def forget_the_outage() -> None:
        runtime.primaries.shut_down()
        runtime.primaries = PrimaryRegistry(_unheard)

    http.install(requests.sessions, runtime)
    try:
        yield forget_the_outage
    finally:
        swap.restore(requests.Session, "request")
        runtime.primaries.shut_down()


def _timed(bench: Bench, generation: Generation) -> float:
    began = time.perf_counter()
    list(bench.local.generate(generation))
    return (time.perf_counter() - began) * 1000


def _unheard(name: str, failure: PrimaryFailure | None, seconds: float) -> None:
    """Nobody listens for outages here."""


def _quiet(line: str, error: BaseException | None = None) -> None:
    if error is not None:
        print(line, file=sys.stderr)


def _no_remote(address: str, model: str) -> Any:
    raise AssertionError("no fallback host is set")


if __name__ == "__main__":
    raise SystemExit(main())
