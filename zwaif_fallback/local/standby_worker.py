"""The standby worker: a process that holds no model yet, but has imported what loading one needs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import FallbackError, ModelError, WorkerDied
from zwaif_fallback.models import plugin_engines
from zwaif_fallback.workers.protocol import pack
from zwaif_fallback.workers.worker_process import WorkerProcess

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Prepared:
    worker: WorkerProcess
    engine: str
    """As :func:`_engine_for`."""
    done: threading.Event = field(default_factory=threading.Event)

    def can_load(self, options: LoadOptions) -> bool:
        """Whether it is ready for this model. A load does not wait for imports, as they run at the lowest priority."""
        return self.done.is_set() and self.worker.alive and self.engine == _engine_for(options)


class StandbyWorker:
    """Holds at most one such process. Every method may be called from any thread.

    Args:
        start: starts a worker for a model; raises FallbackError if that fails.
    """

    def __init__(self, start: Callable[[LoadOptions], WorkerProcess]) -> None:
        self._start = start
        self._lock = threading.Lock()
        self._prepared: _Prepared | None = None

    def prepare(self, options: LoadOptions) -> None:
        """Start a process and have it import, at the lowest priority, what loading this model needs.

        It replaces the previous one. Blocks until the imports are done or the process was ended.

        Raises:
            FallbackError: the process cannot be started, or the imports failed.
        """
        new = _Prepared(self._start(options), _engine_for(options))
        if (old := self._replace(new)) is not None:
            old.worker.kill()
        try:
            order = plugin_engines.order_for(options.model)
            new.worker.ask("prepare", options=pack(options), idle=True, **order).next_event()
            new.done.set()
        except WorkerDied as error:  # usually a load started another worker, as this one was not ready
            logger.debug("The standby worker ended: %s", error)
        except FallbackError:
            new.worker.kill()
            raise

    @property
    def pid(self) -> int | None:
        """The process, once it is ready; else None."""
        prepared = self._prepared
        is_ready = prepared is not None and prepared.done.is_set() and prepared.worker.alive
        return prepared.worker.pid if prepared is not None and is_ready else None

    def take(self, options: LoadOptions) -> WorkerProcess | None:
        """Hand the process over to a load of this model. One that is not ready for it is ended; then return None."""
        if (prepared := self._replace(None)) is None:
            return None
        if prepared.can_load(options):
            return prepared.worker
        prepared.worker.kill()
        return None

    def end(self) -> None:
        """End the process, ready or not."""
        if (prepared := self._replace(None)) is not None:
            prepared.worker.kill()

    def _replace(self, new: _Prepared | None) -> _Prepared | None:
        """Return the previous one."""
        with self._lock:
            old, self._prepared = self._prepared, new
        return old


def _engine_for(options: LoadOptions) -> str:
    """Return the name of the engine that runs this model."""
    # Late: Z-Waif's start-up waits for this module.
    from zwaif_fallback.engines.factory import is_for_llama_cpp

    if (declared := plugin_engines.find(options.model)) is not None:
        return declared.engine.name
    try:
        return "gguf" if is_for_llama_cpp(options) else "transformers"
    except ModelError:  # several models match; the load itself tells the user
        return "gguf"
