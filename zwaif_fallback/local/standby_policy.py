"""When the standby worker is started and ended.

It has imported what loading a model needs, which shortens a takeover with no model loaded. To disturb nothing, it
starts after Z-Waif's own start-up and while no reply is running, and ends when memory gets short.
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
"""Memory that a standby worker may take (measured: 40 MB for GGUF, 340 MB with PyTorch without CUDA)."""
CALM = 0.25
"""Share of one processor. After its start-up Z-Waif uses less, including its voice detection."""
LONGEST_START = 90.0
"""Seconds after which the worker is started anyway: some installations are never calm."""
LOOK_SECONDS = 3.0
AGAIN_SECONDS = 300.0
"""Seconds until another worker may be started after one ended."""


class Local(Protocol):
    """The part of ``LocalModel`` that is used."""

    @property
    def standing_by(self) -> int | None: ...

    def stand_by(self, options: LoadOptions) -> None: ...

    def dismiss(self) -> None: ...


class Machine:
    """Measurements of this computer; tests pass their own."""

    now = staticmethod(time.monotonic)
    worked = staticmethod(time.process_time)
    """Seconds of processor time that Z-Waif's process has used."""

    def has_room(self) -> bool:
        return preload_policy.has_room_for(MOST_BYTES)

    def is_short(self) -> bool:
        return preload_policy.is_short_of_memory()

    def taken_by(self, pid: int) -> int:
        """Return the bytes that ending this process would free."""
        import psutil  # late, as in hardware

        try:
            process = psutil.Process(pid)
            try:
                return int(process.memory_full_info().uss)
            except (psutil.AccessDenied, OSError):  # not available on every Windows
                return int(process.memory_info().rss)
        except psutil.Error:  # it has just ended
            return 0


class StandbyPolicy:
    """Keeps a standby worker running while one is ``wanted``.

    Args:
        local: starts it, and uses it for a load.
        wanted: what it should be ready to load; None if it is switched off or a model is loaded.
        busy: whether a reply or a load is running.
        wait: waits for that many seconds; True means that everything is shutting down.
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
        """For the same model; one that was chosen since then may be prepared at once."""
        self.bytes = 0
        """Memory of the standby worker."""

    def begin(self) -> None:
        """Start watching in the background; called once, when Z-Waif starts."""
        if self._thread is None:
            self._thread = threading.Thread(target=self.run, name="zwaif-fallback-standby", daemon=True)
            self._thread.start()

    def run(self) -> None:
        """Watch until ``wait`` reports the shutdown."""
        over = self._wait_for_calm()
        while not over:
            try:
                self.look()
            except Exception:  # nobody calls this thread, and without a standby worker a takeover is only slower
                logger.warning("The standby worker is switched off after an error", exc_info=True)
                return self._local.dismiss()
            over = self._wait(LOOK_SECONDS)

    def look(self) -> None:
        """Check once: start the worker, leave it as it is, or end it."""
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
        formats.start_renderer()
        try:
            self._local.stand_by(options)
        except FallbackError as error:
            logger.warning("No standby worker for %s: %s", options.model, error)
        if (pid := self._local.standing_by) is None:
            return
        self.bytes = self._machine.taken_by(pid)
        logger.debug("Standby worker %d is ready for %s with %.0f MB", pid, options.model, self.bytes / 1e6)
        if self.bytes > MOST_BYTES:
            self._not_before = float("inf")
            self._end(f"it took {self.bytes / 1e6:.0f} MB")

    def _end(self, why: str) -> None:
        self._local.dismiss()
        formats.stop_renderer()
        logger.info("The standby worker was ended: %s", why)

    def _wait_for_calm(self) -> bool:
        """Wait until Z-Waif's start-up is over. True if it shut down before that."""
        until, calm = self._machine.now() + LONGEST_START, 0
        before = self._machine.worked()
        while calm < 2 and self._machine.now() < until:
            if self._wait(LOOK_SECONDS):
                return True
            now = self._machine.worked()
            calm = calm + 1 if now - before < CALM * LOOK_SECONDS else 0
            before = now
        return False
