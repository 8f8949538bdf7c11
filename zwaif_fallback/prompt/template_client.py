"""Renders chat templates in a separate process, which holds no key and no model and can be killed at any time."""

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
"""Maximum processor time for one prompt, in seconds; real templates need a few milliseconds."""
MOST_WAIT = 10.0
"""Maximum seconds for one prompt, including the start of the process on a busy machine."""
MOST_MEMORY = 400 * 1024 * 1024
"""Maximum memory of the process, in bytes; it starts with about 30 million."""
_LOOK = 0.05
"""Seconds between checks of the process while it renders."""


class TemplateClient:
    """Renders templates. Thread-safe. A template that takes too long is refused until :meth:`forgive`.

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
        """Templates that took too much, and why they are refused."""

    def start(self) -> None:
        """Start the process if it is not running; does not wait for it."""
        with self._lock:
            self._living_worker()

    def render(self, template: str, variables: Mapping[str, Any]) -> str:
        """Return the text that ``template`` makes of ``variables``.

        Raises:
            ModelError: the template is wrong, refuses the variables, or takes too much time or memory.
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
        """Accept all templates again."""
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
        request, watch = worker.ask("render", template=template, variables=dict(variables)), _Watch(worker)
        while True:
            try:
                return str(request.next_event(_LOOK)["text"])
            except queue.Empty:
                cause = watch.excess() or ("it takes too long" if self._now() > until else "")
            if cause:
                worker.kill()
                raise self._refusal(template, cause)

    def _refusal(self, template: str, cause: str) -> ModelError:
        self._refused[template] = cause
        return ModelError(cause)


class _Watch:
    """Checks what a process uses, from the first check on."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._begun: float | None = None
        """Seconds of processor time."""

    def excess(self) -> str:
        """Return what the process uses too much of; empty if nothing, or if the process has ended."""
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
"""The client of this process."""
