"""A killed LLM server that is started again, seen by somebody who goes on talking.

    python -m benchmarks.restart [--kills 20]

The server is llama.cpp's own with the embedded model. It is killed (``kill -9``) again and again; the package starts
it as it would in Z-Waif (``API_FALLBACK_RESTART``), while a user sends a message three times a second through the
guards and a script answers in the outage. Between two kills the restarter's clock moves on by ten minutes, so that each
is an outage of its own. Exit code 1 if a reply was lost, the server did not come back, or a process is left.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import requests

from benchmarks.soak.__main__ import SETTINGS, make_gguf
from benchmarks.soak.children import free_port
from benchmarks.soak.fallbacks import Scripted
from zwaif_fallback.restart.detached import Started
from zwaif_fallback.restart.history import WELL_SECONDS
from zwaif_fallback.restart.restarter import Restarter, Tools, is_gone
from zwaif_fallback.restart.start_command import StartCommand
from zwaif_hooks import log
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.guards import http
from zwaif_hooks.guards.swap import restore
from zwaif_hooks.messages import PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime

SERVER = Path(__file__).parents[1] / "soak" / "llama_server.py"
BETWEEN_MESSAGES = 0.3
"""Seconds."""
LONGEST_OUTAGE = 60.0
QUESTION = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}


@dataclass
class Figures:
    """What happened."""

    seconds: list[float] = field(default_factory=list)
    """From each kill to the hand-back."""
    replies: int = 0
    lost: int = 0
    starts: int = 0
    left: int = 0
    """Processes of the server that are still there at the end."""

    def lines(self) -> Iterator[str]:
        yield f"{len(self.seconds)} kills, {self.starts} starts, {self.replies} replies, {self.lost} lost"
        yield f"processes left: {self.left}"
        if self.seconds:
            middle, least, most = statistics.median(self.seconds), min(self.seconds), max(self.seconds)
            yield f"from the kill to the hand-back: median {middle:.1f} s, {least:.1f} to {most:.1f} s"


class Run:
    """One server, its restarter and its user."""

    def __init__(self, scratch: Path) -> None:
        self.figures = Figures()
        self.address = f"127.0.0.1:{free_port()}"
        port = self.address.rpartition(":")[2]
        self.command = StartCommand((sys.executable, str(SERVER), make_gguf(scratch), port, "detached"))
        self._ahead = 0.0
        self._back = threading.Event()
        tools = Tools(print, lambda: time.time() + self._ahead, start=self._start)
        server: Any = SimpleNamespace(program="llama.cpp", command=lambda: self.command)
        self.restarter = Restarter(lambda _: server, tools)
        self._server = Started(self.command, scratch / "first.log", "---", None)
        self.runtime = self._runtime(scratch)

    def kill_again_and_again(self, kills: int) -> None:
        until = time.monotonic() + LONGEST_OUTAGE
        while is_gone(self.address) and time.monotonic() < until:
            time.sleep(BETWEEN_MESSAGES)
        http.install(requests.sessions, self.runtime)
        try:
            self._talk()
            while len(self.figures.seconds) < kills and self._kill():
                self._ahead += WELL_SECONDS + 1
        finally:
            restore(requests.Session, "request")
            self.close()

    def close(self) -> None:
        self.restarter.close()
        self.runtime.primaries.shut_down()
        self._kill_process()
        self.figures.left = sum(str(SERVER) in " ".join(_command_of(one)) for one in psutil.process_iter())

    def _kill(self) -> bool:
        """Kill the server once. Return whether it came back."""
        self._back.clear()
        began = time.monotonic()
        self._kill_process()
        while not self._back.is_set() and time.monotonic() - began < LONGEST_OUTAGE:
            self._talk()
            self._back.wait(BETWEEN_MESSAGES)
        if self._back.is_set():
            self.figures.seconds.append(time.monotonic() - began)
            self._talk()
        return self._back.is_set()

    def _kill_process(self) -> None:
        process = psutil.Process(self._server.pid)
        process.kill()
        process.wait(LONGEST_OUTAGE)

    def _talk(self) -> None:
        self.figures.replies += 1
        reply = requests.post(f"http://{self.address}/v1/chat/completions", json=QUESTION)
        self.figures.lost += not reply.json()["choices"][0]["message"]["content"].strip()

    def _start(self, *arguments: Any) -> Started:
        self.figures.starts += 1
        self._server = Started(*arguments)
        return self._server

    def _runtime(self, scratch: Path) -> Runtime:
        def report(line: str, error: BaseException | None = None) -> None:
            print(line)

        def changed(name: str, failure: PrimaryFailure | None, seconds: float) -> None:
            if failure is not None:
                self.restarter.primary_failed(name)
            else:
                self.restarter.primary_recovered(name)
                self._back.set()

        plugins = PluginManager(report)
        plugins.register(Scripted(), "fallback")
        store = SimpleNamespace(get=SETTINGS.__getitem__, reload=lambda: None)
        return Runtime(scratch, store, plugins, PrimaryRegistry(changed), print, report)


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.restart", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        log.log_path = lambda: Path(scratch) / log.LOG_FILE  # the real one counts the tries of the real server
        run = Run(Path(scratch))
        run.kill_again_and_again(options.kills)
    for line in run.figures.lines():
        print(line)
    figures = run.figures
    return int(
        len(figures.seconds) < options.kills or figures.starts != options.kills or figures.lost > 0 or figures.left > 0
    )


if __name__ == "__main__":
    sys.exit(main())
