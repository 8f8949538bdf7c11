"""Loads a model into a new worker process, with a limit on how long that may take."""

from __future__ import annotations

import logging
import queue
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from zwaif_fallback.engine_types import Generation, LoadedModel, LoadOptions
from zwaif_fallback.errors import EngineError, FallbackError, LocalModelClosed, WorkerDied, WorkerHung
from zwaif_fallback.local.hung_models import AGAIN, HungModels
from zwaif_fallback.local.model_files import file_states
from zwaif_fallback.local.standby_worker import StandbyWorker
from zwaif_fallback.models import plugin_engines
from zwaif_fallback.workers.process_activity import ProcessActivity
from zwaif_fallback.workers.protocol import AHEAD, pack, unpack_loaded
from zwaif_fallback.workers.worker_process import WorkerProcess
from zwaif_hooks import log
from zwaif_hooks.messages import Sampling

logger = logging.getLogger(__name__)

Progress = Callable[[str], None]
Loaded = tuple[WorkerProcess, LoadedModel]

COMMAND = (sys.executable, "-m", "zwaif_fallback.local.model_worker")
SLOW_DISK = 10e6
"""Bytes per second that a load must manage, beside its start-up."""
LEAST_TO_START = 30.0
"""Seconds allowed for Python and torch to start, however short the user's own limit is."""
_LOOK_SECONDS = 5.0
_TEST = Generation("Hello", max_tokens=1, sampling=Sampling(temperature=0))


class Loader:
    """Starts worker processes and loads models into them, one at a time.

    Args:
        hang_timeout: seconds without any progress after which a load is ended.
        load_timeout: seconds a load may take at most, however busy it looks.
        hung: models that are refused because they hung before.
        command: starts the worker.
        now: returns monotonic seconds.
    """

    def __init__(
        self,
        hang_timeout: float,
        load_timeout: float,
        hung: HungModels,
        command: Sequence[str],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._hang_timeout = hang_timeout
        self._load_timeout = load_timeout
        self._hung = hung
        self._command = command
        self._loading: WorkerProcess | None = None
        self._closed = False
        self.standby = StandbyWorker(self._new_worker)

    def load(self, options: LoadOptions, progress: Progress) -> Loaded:
        """Return a worker that has loaded the model and generated one token.

        Raises:
            FallbackError: with the remedy; the worker is ended.
        """
        began = self._now()
        try:
            worker, loaded = self._load_in_standby_worker(options, progress) or self._load_in_new_worker(
                options, progress
            )
            ready = self._now()
            self._generate_one_token(worker, options)
            self._refuse_if_closed()
            return worker, _timed(loaded, ready - began, self._now() - ready)
        except BaseException as error:
            if self._loading is not None:
                self._loading.kill()
            if isinstance(error, FallbackError):
                self._refuse_if_closed()
            if isinstance(error, WorkerHung):
                self._hung.give_up(options, str(error))
            raise
        finally:
            self._loading = None

    def refuse(self, options: LoadOptions) -> None:
        """Raise the reason why this model is not even tried: it hung before, or everything is closed."""
        self._refuse_if_closed()
        self._hung.refuse(options)

    def close(self) -> None:
        """End a running load and the standby worker; refuse further loads."""
        self._closed = True
        self.standby.end()
        if (worker := self._loading) is not None:
            worker.kill()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise LocalModelClosed

    def _load_in_standby_worker(self, options: LoadOptions, progress: Progress) -> Loaded | None:
        """None if there is no standby worker, or if it ended during the load."""
        self._loading = self.standby.take(options)
        if self._loading is None:
            return None
        try:
            return self._loading, self._load_into(self._loading, options, progress)
        except WorkerDied as error:
            logger.info("The standby worker could not load %s, so a new one does: %s", options.model, error)
            return None

    def _load_in_new_worker(self, options: LoadOptions, progress: Progress) -> Loaded:
        self._loading = self._new_worker(options)
        return self._loading, self._load_into(self._loading, options, progress)

    def _new_worker(self, options: LoadOptions) -> WorkerProcess:
        try:
            return WorkerProcess(self._command, whose=plugin_engines.who_runs(options.model))
        except OSError as error:
            raise EngineError(
                f"The local model's process could not be started ({error}). "
                "Close other programs, or install Z-Waif's environment again."
            ) from error

    def _load_into(self, worker: WorkerProcess, options: LoadOptions, progress: Progress) -> LoadedModel:
        request = worker.ask("load", options=pack(options), **plugin_engines.order_for(options.model))
        activity = ProcessActivity(lambda: worker.pid)
        waited = 0.0
        allowed = max(self._hang_timeout, LEAST_TO_START) + sum(size for _, size, _ in file_states(options)) / SLOW_DISK
        step = min(_LOOK_SECONDS, self._hang_timeout)
        while True:
            try:
                event = request.next_event(step)
            except queue.Empty:
                waited += step
                idle = activity.idle_for(step) >= self._hang_timeout
                # A process that works but never finishes is ended too, unless other programs left it little time.
                lost = waited >= allowed and activity.work >= allowed / 2
                if idle or lost or waited >= self._load_timeout:
                    worker.kill()
                    model = plugin_engines.blame(options.model) + options.model
                    raise WorkerHung(
                        f"{model} did not finish loading within {waited:.0f} s and was ended. {AGAIN}"
                    ) from None
                continue
            if event["event"] == "loaded":
                return unpack_loaded(event["loaded"])
            activity.stirred()
            progress(event["line"])

    def _generate_one_token(self, worker: WorkerProcess, options: LoadOptions) -> None:
        request = worker.ask("generate", generation=pack(_TEST), ahead=AHEAD)
        try:
            while request.next_event(self._hang_timeout)["event"] != "done":
                pass
        except queue.Empty:
            model = plugin_engines.blame(options.model) + options.model
            raise WorkerHung(
                f"{model} wrote no first word within {self._hang_timeout:.0f} s and was ended. {AGAIN}"
            ) from None


def _timed(loaded: LoadedModel, until_loaded: float, first_token: float) -> LoadedModel:
    """Return ``loaded`` with all steps of the load, and write them to the log file. What the engine did not time was
    starting the process and importing this package there; for a standby process, both were done before."""
    steps = loaded.load_steps or {"model": loaded.load_seconds}
    steps = {"process": max(0.0, until_loaded - sum(steps.values())), **steps, "first token": first_token}
    parts = ", ".join(f"{step} {seconds:.2f}" for step, seconds in steps.items())
    log.note(f"Loading {loaded.info.name} took {until_loaded + first_token:.2f} s: {parts}")
    return replace(loaded, load_steps=steps)
