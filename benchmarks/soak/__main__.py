"""A chaos soak of the guards and the fallback.

    python -m benchmarks.soak [--turns 1000] [--seed 1] [--scripted] [--stub]

Four callers talk at once, through ``requests`` and the guards, to a real server process on loopback that is killed
(``kill -9``), frozen and restarted at random; so is the local model's worker. The server is llama.cpp's own, started
through xllamacpp with the embedded model as a GGUF made on the spot; the fallback is the same model in the plugin's own
worker process. Each turn must bring a reply, once, of its own conversation. Afterwards the server, left in peace, is
asked everything again: what a caller had of it must be what it says to that. Exit code 1 when anything is wrong.

``--scripted`` replaces the local model by a script, ``--stub`` the server by a few lines of Python: then nothing but
the package is needed (torch and xllamacpp are not).
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import requests.sessions

from benchmarks.soak.chaos import Chaos
from benchmarks.soak.children import ServerChild
from benchmarks.soak.fallbacks import Local, Scripted
from benchmarks.soak.talk import CALLERS, Caller, Takeovers, Verdict, ask
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.guards import http
from zwaif_hooks.guards.swap import restore
from zwaif_hooks.messages import PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = {
    "API_FALLBACK_ENABLED": True,
    "API_FALLBACK_CONNECT_TIMEOUT": 0.5,
    "API_FALLBACK_FIRST_TOKEN_TIMEOUT": 1.0,
    "API_FALLBACK_STALL_TIMEOUT": 0.8,
    "API_FALLBACK_SILENCE_LIMIT": 12.0,
}
LONGEST_RUN = 1800.0
"""Seconds after which no further turn is begun."""


class Soak:
    """Everything of one run."""

    def __init__(self, options: argparse.Namespace, scratch: Path) -> None:
        self.options = options
        self.lines: list[str] = []
        model, program = ("-", "stub_server.py") if options.stub else (make_gguf(scratch), "llama_server.py")
        self.server = ServerChild(program, model)
        self.fallback: Scripted | Local = Scripted() if options.scripted else Local(self.lines.append)
        self.takeovers = Takeovers()
        self.verdict = Verdict(self.takeovers)
        self.runtime = self._runtime(scratch)
        trust = self.runtime.primaries.get(self.server.address).succeeded
        self.chaos = Chaos(self.server, lambda: self.fallback.pid, trust, options.seed)
        self._turns = iter(range(options.turns))
        self._counting = threading.Lock()
        self._began = time.monotonic()

    def run(self) -> None:
        self.server.start()
        self.server.slow_down()
        http.install(requests.sessions, self.runtime)
        self.chaos.start()
        try:
            with ThreadPoolExecutor(len(CALLERS)) as pool:
                list(pool.map(self._talk, CALLERS))
        finally:
            self.chaos.stop()
            restore(requests.Session, "request")
            self.runtime.primaries.shut_down()
        self._compare_with_peace()

    def close(self) -> None:
        self.server.close()
        self.fallback.close()

    def _runtime(self, scratch: Path) -> Runtime:
        def report(line: str, _: BaseException | None = None) -> None:
            self.lines.append(line)

        def changed(name: str, failure: PrimaryFailure | None, seconds: float) -> None:
            if failure is not None:
                plugins.hook.primary_failed(primary=name, failure=failure)
            else:
                plugins.hook.primary_recovered(primary=name, outage_seconds=seconds)

        plugins = PluginManager(report)
        plugins.register(self.fallback, "fallback")
        plugins.register(self.takeovers, "takeovers")
        store = SimpleNamespace(get=SETTINGS.__getitem__, reload=lambda: None)
        return Runtime(scratch, store, plugins, PrimaryRegistry(changed), self.lines.append, report)

    def _talk(self, name: str) -> None:
        caller = Caller(name, self.server.address, self.options.seed)
        while self._one_more():
            judged = self.verdict.judge(caller.turn())
            if judged % 100 == 0:
                print(f"{judged} turns, {time.monotonic() - self._began:.0f} s: {self._counts()}", flush=True)

    def _one_more(self) -> bool:
        with self._counting:
            return time.monotonic() - self._began < LONGEST_RUN and next(self._turns, None) is not None

    def _compare_with_peace(self) -> None:
        self.server.close()
        peace = ServerChild(self.server.program, self.server.model)
        peace.start()
        try:
            for said in self.verdict.turns:
                if not said.error:
                    url = f"http://{peace.address}/v1/chat/completions"
                    self.verdict.compare(said, ask(url, said.messages, stream=True, model="-"))
        finally:
            peace.close()

    def _counts(self) -> str:
        taken, verdict = self.takeovers.records.values(), self.verdict
        middle = sum(bool(record.failure.delivered) for record in taken)
        return (
            f"{verdict.lost} lost, {verdict.doubled} doubled, {verdict.mixed} mixed, {verdict.exceptions} exceptions; "
            f"{len(taken)} takeovers ({middle} in mid-sentence), {self.takeovers.switches} switches"
        )

    def summary(self) -> list[str]:
        server, chaos = self.server, self.chaos
        return [
            f"{len(self.verdict.turns)} turns in {time.monotonic() - self._began:.0f} s: {self._counts()}",
            f"server: {server.kills} kills, {server.freezes} freezes, {server.starts} starts; "
            f"worker: {chaos.worker_kills} kills",
            *self._takeover_times(),
        ]

    def _takeover_times(self) -> list[str]:
        by_cause: dict[str, list[float]] = {}
        answered: dict[str, int] = {}
        for record in self.takeovers.records.values():
            by_cause.setdefault(record.failure.kind.value, []).append(record.first_text_after)
            answered[record.answered_by] = answered.get(record.answered_by, 0) + 1
        times = [seconds for some in by_cause.values() for seconds in some]
        rows = [("all", times), *sorted(by_cause.items())] if times else []
        return [
            "answered by: " + ", ".join(f"{Path(name).name} {count}" for name, count in sorted(answered.items())),
            *(f"from the failure to the next text, {cause} ({len(some)}): {spread(some)}" for cause, some in rows),
        ]


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p95 = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    return f"p50 {statistics.median(ordered) * 1000:.1f} ms, p95 {p95 * 1000:.1f} ms"


def make_gguf(scratch: Path) -> str:
    target = scratch / "tiny.gguf"
    subprocess.run([sys.executable, str(ROOT / "tools" / "tiny_model" / "to_gguf.py"), str(target)], check=True)
    return str(target)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--turns", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scripted", action="store_true", help="a script in place of the local model")
    parser.add_argument("--stub", action="store_true", help="a few lines of Python in place of llama.cpp's server")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        soak = Soak(options, Path(scratch))
        try:
            soak.run()
        finally:
            soak.close()
    for line in [*soak.summary(), *soak.verdict.faults[:20]]:
        print(line)
    if soak.chaos.error is not None:
        print(f"The chaos ended early: {soak.chaos.error!r}")
    return int(bool(soak.verdict.faults or soak.chaos.error or len(soak.verdict.turns) < options.turns))


if __name__ == "__main__":
    sys.exit(main())
