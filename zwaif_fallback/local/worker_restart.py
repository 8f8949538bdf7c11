"""Restarting the worker process of the local model after it died or hung, without the user noticing."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from zwaif_fallback.errors import FallbackError, WorkerDied, WorkerHung
from zwaif_fallback.local.single_flight import SingleFlight
from zwaif_fallback.workers.worker_process import PendingRequest, WorkerProcess
from zwaif_hooks.stream import CancelScope

T = TypeVar("T")


class WorkerRestart:
    """Finds the worker for a request, and restarts it when it is gone.

    Args:
        current: the worker that serves now, dead or alive; None if no model is loaded.
        start: starts it again; may be slow, and raises FallbackError.
        hang_timeout: seconds without any answer after which a worker is killed.
        hung: makes the error for a worker that was killed for it.
        note_end: called with a worker that died or hung, and the error; returns what to raise instead.
    """

    def __init__(
        self,
        current: Callable[[], WorkerProcess | None],
        start: Callable[[], WorkerProcess],
        hang_timeout: float,
        hung: Callable[[], WorkerHung],
        note_end: Callable[[WorkerProcess, FallbackError], FallbackError],
    ) -> None:
        self._current = current
        self._start = SingleFlight(start)
        self._hang_timeout = hang_timeout
        self._hung = hung
        self._note_end = note_end

    def twice(self, ask: Callable[[WorkerProcess], T], scope: CancelScope | None = None) -> T:
        """Return ``ask(worker)``; if the worker dies or hangs meanwhile, ask a restarted one, once.

        Cancelling ``scope`` ends the wait for a restart, but not the restart.

        Raises:
            FallbackError: the worker cannot be restarted, or ended a second time.
        """
        worker = self._worker(scope)
        try:
            return ask(worker)
        except (WorkerDied, WorkerHung):
            return ask(self._worker(scope))

    def events(self, worker: WorkerProcess, request: PendingRequest) -> Iterator[dict[str, Any]]:
        """Yield every answer, up to and including ``done``. Raises as :meth:`next_event`."""
        while True:
            event = self.next_event(worker, request)
            yield event
            if event["event"] == "done":
                return

    def next_event(self, worker: WorkerProcess, request: PendingRequest) -> dict[str, Any]:
        """Return the next answer.

        Raises:
            WorkerDied: the worker ended.
            WorkerHung: it sent nothing for too long and was killed.
            FallbackError: the error that it reports.
        """
        try:
            return self._answer(worker, request)
        except (WorkerDied, WorkerHung) as error:
            raise self._note_end(worker, error) from error.__cause__

    def _answer(self, worker: WorkerProcess, request: PendingRequest) -> dict[str, Any]:
        try:
            return request.next_event(self._hang_timeout)
        except queue.Empty:
            worker.kill()
            raise self._hung() from None

    def _worker(self, scope: CancelScope | None) -> WorkerProcess:
        worker = self._current()
        if worker is not None and worker.alive:
            return worker
        return self._start.result(scope or CancelScope())
