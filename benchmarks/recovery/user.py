"""Somebody who says something about once a second, whatever happens to the server."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from benchmarks.soak.talk import SHORTEST, ask
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.turn_log import BY_PRIMARY

BETWEEN_SECONDS = (0.7, 1.3)
QUESTION = [{"role": "user", "content": "Tell me a story"}]


@dataclass(frozen=True)
class Heard:
    """One turn. Times in seconds of ``time.monotonic``."""

    asked_at: float
    done_at: float
    by_primary: bool
    error: str = ""


class User:
    """Talks in a thread of its own until told to stop."""

    def __init__(self, address: str, runtime: Runtime, seed: int) -> None:
        self._url = f"http://{address}/v1/chat/completions"
        self._runtime = runtime
        self._random = random.Random(seed)
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._talk, name="user", daemon=True)
        self.between = threading.Lock()
        """Held while a turn is under way."""
        self.turns: list[Heard] = []

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def failed(self) -> int:
        return sum(bool(turn.error) for turn in self.turns)

    def first_from_primary(self, asked_after: float, timeout: float = 120.0) -> Heard:
        """Waits for it."""

        def found() -> Heard | None:
            late = (turn for turn in self.turns if turn.asked_at >= asked_after and turn.by_primary)
            return next(late, None)

        with self._changed:
            turn = self._changed.wait_for(found, timeout)
        if turn is None:
            raise TimeoutError(f"the primary answered nothing for {timeout:g} s")
        return turn

    def _talk(self) -> None:
        while not self._stop.wait(self._random.uniform(*BETWEEN_SECONDS)):
            with self.between:
                heard = self._turn()
            with self._changed:
                self.turns.append(heard)
                self._changed.notify_all()

    def _turn(self) -> Heard:
        began, error = time.monotonic(), ""
        try:
            text = ask(self._url, QUESTION, stream=True, model="user")
            error = "" if len(text.strip()) >= SHORTEST else "blank"
        except Exception as caught:  # every one counts against us
            error = repr(caught)
        done = time.monotonic()
        record = self._runtime.records.recent()[-1]
        return Heard(began, done, record.answered_by == BY_PRIMARY, error)
