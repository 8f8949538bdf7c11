"""Chat templates, rendered in a process of their own, which holds no key and no model and can be ended at any time."""

from __future__ import annotations

import logging
import queue
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zwaif_fallback.errors import ModelError, WorkerDied
from zwaif_fallback.workers.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "zwaif_fallback.prompt.template_worker")
MOST_WORK = 0.5
"""Seconds of processor time for one text; templates in use need a few milliseconds, on any machine."""
MOST_WAIT = 10.0
"""Seconds until a text is there, the start of the process on a busy machine included."""
MOST_MEMORY = 400 * 1024 * 1024
"""Bytes that the process may hold; it begins with about 30 million."""
_LOOK = 0.05
"""Seconds between two looks at what the process takes while a text is awaited."""


class TemplateClient:
    """Renders templates; thread-safe. One that takes too long is not tried again before :meth:`forgive`.

    Args:
        command: starts the worker.
        now: seconds, from any start.
    """

    def __init__(self, command: Sequence[str] = COMMAND, now: Callable[[], float] = time.monotonic) -> None:
        self._command = command
        self._now = now
        self._lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._refused: dict[str, str] = {}
        """Templates that took too long, and what they did."""

    def start(self) -> None:
        """Begin to start the process, where it is not there yet, so that nobody need wait for it."""
        with self._lock:
            self._living_worker()

    def render(self, template: str, variables: Mapping[str, Any]) -> str:
        """The text that ``template`` makes of ``variables``.

        Raises:
            ModelError: the template refuses them, is wrong, or takes too long or too much; the text says which.
        """
        with self._lock:
            if cause := self._refused.get(template):
                raise ModelError(cause)
            for last_try in (False, True):
                try:
                    return self._asked(template, variables)
                except WorkerDied as error:
                    if last_try:
                        raise self._refusal(template, str(error)) from error
                except (OSError, queue.Empty) as error:
                    self._end()
                    raise ModelError(f"the template process does not start ({error!r})") from error
        raise AssertionError("the second try returns or raises")

    def forgive(self) -> None:
        """Try every template again."""
        with self._lock:
            self._refused.clear()

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        if self._worker is not None:
            self._worker.kill()
        self._worker = None

    def _living_worker(self) -> WorkerProcess:
        if self._worker is None or not self._worker.alive:
            self._worker = WorkerProcess(self._command, whose="The chat templates'")
        return self._worker

    def _asked(self, template: str, variables: Mapping[str, Any]) -> str:
        worker, until = self._living_worker(), self._now() + MOST_WAIT
        worker.wait_until_started(MOST_WAIT)
        exchange, watch = worker.ask("render", template=template, variables=dict(variables)), _Watch(worker)
        while True:
            try:
                return str(exchange.next_event(_LOOK)["text"])
            except queue.Empty:
                cause = watch.excess() or ("it takes too long" if self._now() > until else "")
            if cause:
                worker.kill()
                raise self._refusal(template, cause)

    def _refusal(self, template: str, cause: str) -> ModelError:
        self._refused[template] = cause
        return ModelError(cause)


class _Watch:
    """What a process takes from the first look on."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._begun: float | None = None
        """Seconds of processor time."""

    def excess(self) -> str:
        """What it takes too much of; empty while it behaves, or is gone."""
        import psutil  # late, as in hardware

        try:
            process = psutil.Process(self._worker.pid)
            times, memory = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return ""
        work = times.user + times.system
        self._begun = work if self._begun is None else self._begun
        if memory > MOST_MEMORY:
            return "it takes too much memory"
        return "it takes too long" if work - self._begun > MOST_WORK else ""


SHARED = TemplateClient()
"""The one of this process."""
