"""What happens to the server and to the local model's worker while people talk; seeded."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Callable

import psutil

from benchmarks.soak.children import ServerChild

CALM_SECONDS = (1.0, 3.5)
"""Between two blows, counted from when the server listens again: mostly long enough for it to be trusted again."""
FIRST_CALM_SECONDS = 0.05
DOWN_SECONDS = (0.0, 0.7)
TRUSTED = 0.7
"""How often the circuit breaker is closed by hand: rightly it takes such a server for flapping and would hardly ask
it, and what is to be seen is replies that break off."""
FROZEN_SECONDS = (0.1, 1.5)
"""Some are shorter than the stall deadline, and must not be taken for a failure."""
BLOWS = (*["kill"] * 8, *["freeze"] * 5, *["freeze and kill"] * 3, "kill the worker")
"""A worker takes seconds to start again, so that it cannot die as often as the server."""


class Chaos:
    """Strikes until told to stop, in a thread of its own."""

    def __init__(
        self, server: ServerChild, worker_pid: Callable[[], int | None], trust: Callable[[], None], seed: int
    ) -> None:
        """``trust`` is called, every other time on average, when the server is back."""
        self._server = server
        self._trust = trust
        self._worker_pid = worker_pid
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="soak-chaos", daemon=True)
        self.worker_kills = 0
        self.error: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._stop.wait(FIRST_CALM_SECONDS)
            self._strike("kill")
            while not self._pause(CALM_SECONDS):
                self._strike(self._random.choice(BLOWS))
        except BaseException as error:  # told at the end of the run: without blows it would prove nothing
            self.error = error

    def _pause(self, between: tuple[float, float]) -> bool:
        """True when it is time to stop."""
        return self._stop.wait(self._random.uniform(*between))

    def _strike(self, blow: str) -> None:
        if blow == "kill the worker":
            self._kill_worker()
            return
        if "freeze" in blow:
            self._server.freeze()
            self._pause(FROZEN_SECONDS)
        if "kill" in blow:
            self._server.kill()
            self._pause(DOWN_SECONDS)
            self._server.start()
        else:
            self._server.thaw()
        if self._random.random() < TRUSTED:
            self._trust()

    def _kill_worker(self) -> None:
        pid = self._worker_pid()
        if pid is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).kill()
                self.worker_kills += 1
