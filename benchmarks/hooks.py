"""What a plugin's hooks cost the thread that calls them: microseconds with no plugin, and with one that does nothing.

    python -m benchmarks.hooks [--rounds 2000]

The hooks of a healthy turn are measured as turns of three sentences from a server in this process, with and without a
plugin in turn; the others as calls. The first rows are what Python itself takes to wake another thread and wait for it.
Each figure is a median, right after the last call or (cold) after a pause of 20 ms, when processor caches are cold.
"""

from __future__ import annotations

import argparse
import os
import queue
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from zwaif_hooks import messages as zw
from zwaif_hooks.background.plugin_threads import in_time
from zwaif_hooks.failover.call import Call
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.failover.turn import Turn
from zwaif_hooks.guard_settings import GUARD_SETTINGS
from zwaif_hooks.guards.changed_request import change_by_plugins
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.plugins.hook_table import HOOKS
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.stream import CancelScope, Chunk

COLD_SECONDS = 0.02
COLD_SHARE = 10
"""One of so many rounds is cold. After each the plugin's own thread catches up, so nothing is dropped."""
DEADLINE = 10.0
MODEL = zw.ModelInfo("m")
REQUEST = zw.ChatRequest("oobabooga", (zw.Message("system", "You are Polly."), zw.Message("user", "Polly, hello!")))
FAILURE = zw.PrimaryFailure(zw.FailureKind.REFUSED, "connection refused by 127.0.0.1:5000")
RECORD = zw.AnswerRecord(REQUEST, FAILURE, "parrot", "a model", "Hello.", 6.0, 7.0)
REPLY = ("Hello there, ", "my friend. ", "It is a ", "fine day. ", "Shall we ", "sail? ")

Do = Callable[[], object]
Use = Callable[["Scene"], object]


class Scene:
    """A runtime whose server is a list, with or without a plugin that implements one hook."""

    def __init__(self, folder: Path, hook: str = "") -> None:
        env = folder / ".env"
        env.write_text("API_FALLBACK_ENABLED = ON\n", encoding="utf-8")
        self.said: list[object] = []
        self._hook = hook
        settings = SettingsStore(GUARD_SETTINGS, env, environ={}, say=self._say)
        self.plugins = PluginManager(self._say)
        if hook:
            listener = type("Listener", (), {hook: staticmethod(hookimpl(lambda: None))})()
            assert self.plugins.register(listener, "listener", guarded=True)
        self.runtime = Runtime(folder, settings, self.plugins, PrimaryRegistry(self._say), self._say, self._say)

    def _say(self, *what: object) -> None:
        self.said.append(what)

    def turn(self) -> None:
        change_by_plugins(self.runtime, _request)
        call = Call("127.0.0.1:5000", _reply, _reply, _request, "oobabooga", direct=True)
        for _ in Turn(call, self.runtime).start(ahead=False).chunks():
            pass

    def settle(self) -> None:
        guard = self.plugins.guard_of("listener", self._hook)
        assert guard is not None and guard.catch_up(DEADLINE), "the machine is too busy"

    def ask(self, hook: str, **arguments: Any) -> None:
        getattr(self.plugins.hook, hook)(**arguments)


@dataclass(frozen=True)
class Row:
    hook: str
    waits: str
    use: Use


ROWS = (
    Row("before_request", "a request", Scene.turn),
    Row("sentence_spoken", "a turn of three sentences", Scene.turn),
    Row("turn_finished", "a turn", Scene.turn),
    Row("primary_answered", "a turn", Scene.turn),
    Row("fallback_answered", "an outage's turn", lambda on: on.ask("fallback_answered", record=RECORD)),
    Row("on_primary_failure", "an outage's turn", lambda on: on.plugins.answer(REQUEST, FAILURE)),
    Row("say_while_waiting", "an outage's turn", lambda on: on.plugins.line_while_waiting(REQUEST, FAILURE)),
    Row("prompt_format", "a local prompt", lambda on: list(on.plugins.prompt_formats(MODEL))),
    Row("will_answer", "background work", lambda on: on.plugins.someone_will_answer(REQUEST, FAILURE)),
    Row("primary_late", "a late reply", lambda on: on.ask("primary_late", primary="", describe=_request, delivered="")),
    Row("primary_failed", "an outage", lambda on: on.ask("primary_failed", primary="", failure=FAILURE)),
    Row("primary_recovered", "an outage", lambda on: on.ask("primary_recovered", primary="", outage_seconds=1.0)),
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2000, help="of each figure (default: 2000)")
    rounds = parser.parse_args().rounds
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores{load}; medians of {rounds}, microseconds\n")
    print("| | who waits | nobody | a plugin adds | cold |")
    print("|---|---|---|---|---|")
    for name, round_trip in (
        ("Python: two locks", two_locks()),
        ("Python: two queues", two_queues()),
        ("a call with a deadline", _call),
    ):
        (warm, cold) = measured((round_trip,), rounds)
        print(f"| {name} | | | {statistics.median(warm[0]):.1f} | {statistics.median(cold[0]):.1f} |")
    for row in ROWS:
        print(f"| {row.hook} | {row.waits} | {' | '.join(f'{figure:.1f}' for figure in costs(row, rounds))} |")
        sys.stdout.flush()
    return 0


def costs(row: Row, rounds: int) -> tuple[float, float, float]:
    """What it takes with nobody, and what a plugin adds, warm and cold."""
    patient = HOOKS[row.hook]._replace(seconds=DEADLINE)  # on a busy machine a hook would be late, and then skipped
    with (
        patch.dict(HOOKS, {row.hook: patient}),
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as a,
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as b,
    ):
        nobody, somebody = Scene(Path(a)), Scene(Path(b), row.hook)
        warm, cold = measured((lambda: row.use(nobody), lambda: row.use(somebody)), rounds, somebody.settle)
    assert not nobody.said + somebody.said, (nobody.said, somebody.said)
    (bare, ours), (bare_cold, ours_cold) = ([statistics.median(side) for side in sides] for sides in (warm, cold))
    return bare, ours - bare, ours_cold - bare_cold


def measured(ways: tuple[Do, ...], rounds: int, settle: Do = int) -> tuple[list[list[float]], list[list[float]]]:
    """Time each way, in turn, warm and cold."""
    warm: list[list[float]] = [[] for _ in ways]
    cold: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + rounds // 10):
        for way, times in zip(ways, warm, strict=True):
            times.append(_timed(way))
        if number % COLD_SHARE == 0:
            for way, times in zip(ways, cold, strict=True):
                time.sleep(COLD_SECONDS)
                times.append(_timed(way))
            settle()
    return [times[rounds // 10 :] for times in warm], cold


def two_locks() -> Do:
    go, done = threading.Lock(), threading.Lock()
    go.acquire()
    done.acquire()

    def work() -> None:
        while True:
            go.acquire()
            done.release()

    def round_trip() -> None:
        go.release()
        done.acquire(True, DEADLINE)

    threading.Thread(target=work, daemon=True).start()
    return round_trip


def two_queues() -> Do:
    jobs: queue.SimpleQueue[None] = queue.SimpleQueue()
    results: queue.SimpleQueue[None] = queue.SimpleQueue()

    def work() -> None:
        while True:
            results.put(jobs.get())

    def round_trip() -> None:
        jobs.put(None)
        results.get(timeout=DEADLINE)

    threading.Thread(target=work, daemon=True).start()
    return round_trip


def _call() -> None:
    in_time(int, (), DEADLINE)


def _timed(way: Do) -> float:
    began = time.perf_counter_ns()
    way()
    return (time.perf_counter_ns() - began) / 1e3


def _request() -> zw.ChatRequest:
    return REQUEST


def _reply(scope: CancelScope) -> Iterator[Chunk]:
    for text in REPLY:
        yield Chunk(text)


if __name__ == "__main__":
    sys.exit(main())
