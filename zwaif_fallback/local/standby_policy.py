"""A process stands by: it has imported what a load needs, so that a takeover with nothing loaded comes sooner.

Out of everybody's way: it begins when Z-Waif's own start is over and no reply is under way, imports at the lowest
priority, and is given back when memory gets short.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Protocol

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.local import preload_policy
from zwaif_fallback.prompt import formats

logger = logging.getLogger(__name__)

MOST_BYTES = 400 * 1000 * 1000
"""What a process may take that only stands by (measured: 40 MB for GGUF, 340 MB with PyTorch for a processor)."""
CALM = 0.25
"""Of one processor: what Z-Waif takes once its start is over, the microphone's detector included, is less."""
LONGEST_START = 90.0
"""Seconds after which it is begun all the same: some Z-Waif is never calm."""
LOOK_SECONDS = 3.0
AGAIN_SECONDS = 300.0
"""After it was given back, or ended by itself, until another one may be started."""


class Local(Protocol):
    """The part of ``supervisor.LocalModel`` that is used."""

    @property
    def standing_by(self) -> int | None: ...

    def stand_by(self, options: LoadOptions) -> None: ...

    def dismiss(self) -> None: ...


class Machine:
    """What is asked of the computer; tests have another one."""

    now = staticmethod(time.monotonic)
    worked = staticmethod(time.process_time)
    """Seconds of processor time that Z-Waif's process took so far."""

    def has_room(self) -> bool:
        return preload_policy.has_room_for(MOST_BYTES)

    def is_short(self) -> bool:
        return preload_policy.is_short_of_memory()

    def taken_by(self, pid: int) -> int:
        """Bytes that would be free without this process."""
        import psutil  # late, as in hardware

        try:
            process = psutil.Process(pid)
            try:
                return int(process.memory_full_info().uss)
            except (psutil.AccessDenied, OSError):  # not every Windows tells what is a process's own
                return int(process.memory_info().rss)
        except psutil.Error:  # it has just ended
            return 0


class StandbyPolicy:
    """Keeps a process standing by while it is ``wanted``.

    Args:
        local: starts it, and takes it for a load.
        wanted: what it is to be ready for; None while nothing is to stand by: it is switched off, or a model is loaded.
        busy: whether a reply or a load is under way.
        wait: waits so many seconds; True once all is over.
    """

    def __init__(
        self,
        local: Local,
        wanted: Callable[[], LoadOptions | None],
        busy: Callable[[], bool],
        wait: Callable[[float], bool],
        machine: Machine | None = None,
    ) -> None:
        self._local, self._wanted, self._busy, self._wait = local, wanted, busy, wait
        self._machine = machine or Machine()
        self._thread: threading.Thread | None = None
        self._ready_for: LoadOptions | None = None
        self._not_before = 0.0
        """For the same model; one that was chosen since then has its own chance."""
        self.bytes = 0
        """What the process that stands by takes."""

    def begin(self) -> None:
        """At Z-Waif's start, once. Returns at once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self.run, name="zwaif-fallback-standby", daemon=True)
            self._thread.start()

    def run(self) -> None:
        """Until ``wait`` says that all is over."""
        over = self._wait_for_calm()
        while not over:
            try:
                self.look()
            except Exception:  # this thread has no caller, and without it only a takeover is slower
                logger.warning("Nothing stands by any more", exc_info=True)
                return self._local.dismiss()
            over = self._wait(LOOK_SECONDS)

    def look(self) -> None:
        """One look: start it, leave it, or end it."""
        stands = self._local.standing_by is not None
        if stands and self._machine.is_short():
            self._not_before = self._machine.now() + AGAIN_SECONDS
            return self._end("memory is short")
        if self._busy():
            return None
        wanted = self._wanted()
        if wanted is None:
            return self._end("it is not wanted") if stands else None
        again = wanted == self._ready_for
        waits = again and (stands or self._machine.now() < self._not_before)
        return self._start(wanted) if not waits and self._machine.has_room() else None

    def _start(self, options: LoadOptions) -> None:
        self._ready_for, self._not_before = options, self._machine.now() + AGAIN_SECONDS
        formats.get_ready()
        try:
            self._local.stand_by(options)
        except FallbackError as error:
            logger.warning("Nothing stands by for %s: %s", options.model, error)
        if (pid := self._local.standing_by) is None:
            return
        self.bytes = self._machine.taken_by(pid)
        logger.debug("Process %d stands by for %s with %.0f MB", pid, options.model, self.bytes / 1e6)
        if self.bytes > MOST_BYTES:
            self._not_before = float("inf")
            self._end(f"it took {self.bytes / 1e6:.0f} MB")

    def _end(self, why: str) -> None:
        self._local.dismiss()
        formats.close()
        logger.info("Nothing stands by any more: %s", why)

    def _wait_for_calm(self) -> bool:
        """Until Z-Waif's start is over; True where it ended before."""
        until, calm = self._machine.now() + LONGEST_START, 0
        before = self._machine.worked()
        while calm < 2 and self._machine.now() < until:
            if self._wait(LOOK_SECONDS):
                return True
            now = self._machine.worked()
            calm = calm + 1 if now - before < CALM * LOOK_SECONDS else 0
            before = now
        return False
