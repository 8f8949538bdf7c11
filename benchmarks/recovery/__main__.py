"""Recovery as a distribution.

    python -m benchmarks.recovery [--recoveries 40] [--flap 120] [--seed 1] [--stub]

A user says something about once a second, through ``requests`` and the guards, while llama.cpp's own server (a process
with the embedded model as a GGUF made on the spot) is killed (``kill -9``) and started again. For each return is
measured how long after the server could generate the circuit breaker was closed, and the first turn was answered by it.
Then a door in front of the healthy server is open and shut in turn, half a second each: how often is the speaker
changed, and is any turn lost? Exit code 1 when the aims are missed.

Between two outages the guards' clock is put forward by more than a minute, while nobody talks: to them the outages are
as far apart as those of a server that does not flap. ``--stub`` takes a few lines of Python for the server.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import requests.sessions

from benchmarks.recovery.relay import Relay
from benchmarks.recovery.user import QUESTION, User
from benchmarks.soak.__main__ import SETTINGS, make_gguf
from benchmarks.soak.children import ServerChild
from benchmarks.soak.fallbacks import Scripted
from benchmarks.soak.talk import ask
from zwaif_hooks.background.clock import SystemClock
from zwaif_hooks.failover.recovery import FLAPPING_SECONDS
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.guards import http
from zwaif_hooks.guards.http import PASS_HEADER
from zwaif_hooks.guards.swap import restore
from zwaif_hooks.messages import PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.runtime import Runtime

DOWN_SECONDS = (0.3, 3.0)
UP_SECONDS = (1.0, 2.0)
HALF_PERIOD = 0.5
BACK_WITHIN = 2.0
"""Aim for the 95th percentile, in seconds."""
SWITCHES_A_MINUTE = 2.0


class LeapingClock(SystemClock):
    """The system's clock, which can be put forward."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        return super().now() + self._ahead

    def leap(self, seconds: float) -> None:
        self._ahead += seconds


class Bench:
    """The guards around one address, and when their breaker opened and closed."""

    def __init__(self, scratch: Path) -> None:
        self.clock = LeapingClock()
        self.opened: list[float] = []
        self.closed: list[float] = []
        self._changed = threading.Condition()
        plugins = PluginManager(_ignore)
        plugins.register(Scripted(), "script")
        store = SimpleNamespace(get=SETTINGS.__getitem__, reload=lambda: None)
        book = PrimaryRegistry(self._note, self.clock)
        self.runtime = Runtime(scratch, store, plugins, book, _ignore, _ignore, self.clock)

    def closed_after(self, moment: float, timeout: float = 120.0) -> float:
        """When the breaker was closed; waits for it."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.closed and self.closed[-1] >= moment, timeout):
                raise TimeoutError(f"the breaker was not closed within {timeout:g} s")
            return self.closed[-1]

    @contextmanager
    def talking(self, address: str, seed: int) -> Iterator[User]:
        user = User(address, self.runtime, seed)
        http.install(requests.sessions, self.runtime)
        user.start()
        try:
            yield user
        finally:
            user.stop()
            restore(requests.Session, "request")
            self.runtime.primaries.shut_down()

    def _note(self, _: str, failure: PrimaryFailure | None, __: float) -> None:
        with self._changed:
            (self.opened if failure is not None else self.closed).append(time.monotonic())
            self._changed.notify_all()


def _ignore(*_: object) -> None:
    """What is said to the user is not looked at."""


def recoveries(server: ServerChild, count: int, seed: int, scratch: Path) -> tuple[list[tuple[float, float]], User]:
    """Seconds from "generates again" to "breaker closed", and to the first turn by the primary, for each outage."""
    bench, dice = Bench(scratch), random.Random(seed)
    seconds: list[tuple[float, float]] = []
    with bench.talking(server.address, seed) as user:
        user.first_from_primary(0.0)
        while len(seconds) < count:
            with user.between:
                bench.clock.leap(FLAPPING_SECONDS + 1)
            time.sleep(dice.uniform(*UP_SECONDS))
            server.kill()
            time.sleep(dice.uniform(*DOWN_SECONDS))
            server.start()
            ask(f"http://{server.address}/v1/chat/completions", QUESTION, True, "-", headers={PASS_HEADER: "1"})
            back = time.monotonic()
            if not bench.opened or (bench.closed and bench.closed[-1] > bench.opened[-1]):
                continue  # nobody spoke while it was away
            closed = bench.closed_after(bench.opened[-1])
            heard = user.first_from_primary(closed)
            seconds.append((max(0.0, closed - back), heard.done_at - back))
            if len(seconds) % 10 == 0:
                print(f"{len(seconds)} recoveries", flush=True)
    return seconds, user


def flapping(server: ServerChild, seconds: float, seed: int, scratch: Path) -> tuple[float, User]:
    """Switches a minute, and the turns."""
    bench, relay = Bench(scratch), Relay(server.address)
    relay.open()
    with bench.talking(relay.address, seed) as user:
        user.first_from_primary(0.0)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            relay.shut()
            time.sleep(HALF_PERIOD)
            relay.open()
            time.sleep(HALF_PERIOD)
        switches = len(bench.opened) + len(bench.closed)
    relay.shut()
    return switches / max(1.0, seconds / 60), user


def spread(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return f"{statistics.median(ordered):.2f} | {percentile(ordered):.2f} | {ordered[-1]:.2f}"


def percentile(ordered: list[float], share: float = 0.95) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recoveries", type=int, default=40)
    parser.add_argument("--flap", type=float, default=120.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stub", action="store_true", help="a few lines of Python in place of llama.cpp's server")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None, tell: Callable[[str], None] = print) -> int:
    options = parse(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        model, program = ("-", "stub_server.py") if options.stub else (make_gguf(Path(scratch)), "llama_server.py")
        server = ServerChild(program, model)
        server.start()
        try:
            seconds, user = recoveries(server, options.recoveries, options.seed, Path(scratch))
            switches, flapped = flapping(server, options.flap, options.seed, Path(scratch))
        finally:
            server.close()
    closed, heard = ([pair[which] for pair in seconds] for which in (0, 1))
    tell(f"\n{len(seconds)} recoveries, {len(user.turns)} turns, {user.failed} failed\n")
    tell("| From the moment the server generates again | p50 s | p95 s | max s |\n|---|---|---|---|")
    tell(f"| until the circuit breaker is closed | {spread(closed)} |")
    tell(f"| until the first turn is answered by it, one asked about every second | {spread(heard)} |")
    tell(
        f"\nFlapping at 1 Hz for {options.flap:g} s: {switches:.1f} switches a minute, "
        f"{len(flapped.turns)} turns, {flapped.failed} failed"
    )
    missed = percentile(sorted(closed)) > BACK_WITHIN or switches > SWITCHES_A_MINUTE
    return int(bool(missed or user.failed or flapped.failed))


if __name__ == "__main__":
    sys.exit(main())
