"""The process that stands by: a worker that holds no model yet, but has imported what a load of one needs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import FallbackError, ModelError, WorkerDied
from zwaif_fallback.workers.protocol import pack
from zwaif_fallback.workers.worker_process import WorkerProcess

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Prepared:
    worker: WorkerProcess
    for_llama_cpp: bool
    done: threading.Event = field(default_factory=threading.Event)

    def can_load(self, options: LoadOptions) -> bool:
        """Whether it is ready for this model. One that still imports does so when nobody else wants the processor."""
        return self.done.is_set() and self.worker.alive and self.for_llama_cpp == _is_for_llama_cpp(options)


class StandbyWorker:
    """At most one such process. Every method may be called from any thread.

    Args:
        start: starts a worker; raises FallbackError where that is impossible.
    """

    def __init__(self, start: Callable[[], WorkerProcess]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._spare: _Prepared | None = None

    def prepare(self, options: LoadOptions) -> None:
        """Have a new one import what a load of this model needs, at the lowest priority; it replaces the one before.

        Blocks until that is done, or nobody waits for it any more.

        Raises:
            FallbackError: it cannot be started, or the imports failed.
        """
        spare = _Prepared(self._start(), _is_for_llama_cpp(options))
        if (before := self._exchange(spare)) is not None:
            before.worker.kill()
        try:
            spare.worker.ask("prepare", options=pack(options), idle=True).next_event()
            spare.done.set()
        except WorkerDied as error:  # most often a load took another one, as this was not ready
            logger.debug("Nothing stands by: %s", error)
        except FallbackError:
            spare.worker.kill()
            raise

    @property
    def pid(self) -> int | None:
        """Of the one that is ready; None where there is none."""
        spare = self._spare
        return spare.worker.pid if spare is not None and spare.done.is_set() and spare.worker.alive else None

    def take(self, options: LoadOptions) -> WorkerProcess | None:
        """It, for a load of this model; one that is not ready for it is ended."""
        if (spare := self._exchange(None)) is None:
            return None
        if spare.can_load(options):
            return spare.worker
        spare.worker.kill()
        return None

    def end(self) -> None:
        """Ready or not."""
        if (spare := self._exchange(None)) is not None:
            spare.worker.kill()

    def _exchange(self, spare: _Prepared | None) -> _Prepared | None:
        """Put it in the place of the one before, which is returned."""
        with self._lock:
            before, self._spare = self._spare, spare
        return before


def _is_for_llama_cpp(options: LoadOptions) -> bool:
    # Late: Z-Waif's start waits for this module.
    from zwaif_fallback.engines.factory import is_for_llama_cpp

    try:
        return is_for_llama_cpp(options)
    except ModelError:  # which of several is meant; the load itself tells the user
        return True
