"""The local model as the rest of the package sees it: loaded once, kept, and switched while replies run."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.errors import FallbackError, LocalModelClosed, ModelError, WorkerHung
from zwaif_fallback.local.fair_queue import FairQueue
from zwaif_fallback.local.hung_models import HungModels
from zwaif_fallback.local.loader import COMMAND, Loaded, Loader, Progress
from zwaif_fallback.local.memory_needed import fits_now
from zwaif_fallback.local.model_files import absolute
from zwaif_fallback.local.reply_generator import ReplyGenerator, fill
from zwaif_fallback.local.token_counts import TokenCounts
from zwaif_fallback.local.worker_restart import WorkerRestart
from zwaif_fallback.reply_stream import ReplyStream
from zwaif_fallback.workers.protocol import AHEAD, pack
from zwaif_fallback.workers.worker_process import WorkerProcess

logger = logging.getLogger(__name__)

State = Literal["empty", "loading", "ready", "failed"]


def _quiet(line: str) -> None:
    """Ignore the progress of a load."""


class LocalModel:
    """One local model in a worker process. Every method may be called from any thread.

    Args:
        hang_timeout: seconds without any progress after which the worker is killed.
        load_timeout: seconds a load may take at most, however busy it looks.
        abandoned_after: seconds a reader may stay away from its reply while somebody else waits.
        command: starts the worker.
        fits_beside: whether the model of these options fits beside the one that is loaded.
        say: prints a line for the user, about a reply that had to wait.
    """

    def __init__(
        self,
        *,
        hang_timeout: float = 60.0,
        load_timeout: float = 900.0,
        abandoned_after: float = 30.0,
        command: Sequence[str] = COMMAND,
        fits_beside: Callable[[LoadOptions], bool] = fits_now,
        say: Progress = logger.debug,
    ) -> None:
        self._fits_beside = fits_beside
        # Lock order: a ticket of the queue, then this lock. Held while loading, never while generating.
        self._load_lock = threading.Lock()
        self._worker: WorkerProcess | None = None
        self._options: LoadOptions | None = None
        self._closed = False
        self._hung = HungModels()
        self._loader = Loader(hang_timeout, load_timeout, self._hung, command)
        self._queue = FairQueue(abandoned_after, say=say)
        self._restart = WorkerRestart(
            lambda: self._worker,
            self._start_again,
            hang_timeout,
            lambda: self._hung.hung_in_a_reply(self._options, hang_timeout),
            self._note_end,
        )
        self._replies = ReplyGenerator(self._queue, self._restart, self._hung.completed_a_reply)
        self._counts = TokenCounts(self._count)
        self.loaded: LoadedModel | None = None
        """The model that serves, also while its worker is being restarted."""
        self.state: State = "empty"
        self.state_line = "No local model is loaded."

    @property
    def pid(self) -> int | None:
        """The process that holds the model, for the status page."""
        worker = self._worker
        return worker.pid if worker is not None and worker.alive else None

    # Loading and switching

    def load(self, options: LoadOptions, progress: Progress = _quiet) -> LoadedModel:
        """Load a model, or switch to it. A running reply finishes on its own model; a failed switch changes nothing.

        Raises:
            FallbackError: with the remedy; the old model stays loaded.
        """
        options = absolute(options)
        if self._serves(options):
            return self._description()
        worker = self._worker
        if worker is None or not worker.alive or self._fits_beside(options):
            with self._load_lock:
                return self._description() if self._serves(options) else self._switch(options, progress)
        progress("Not enough memory for both models: the old one is unloaded first.")
        with self._queue.taken(), self._load_lock:
            return self._description() if self._serves(options) else self._replace_worker(options, progress)

    def try_again(self) -> None:
        """Give a model that hung another chance, as the user asks for it."""
        self._hung.forget()

    def unload(self) -> None:
        """End the worker after the running reply, which frees all its memory."""
        with self._queue.taken(), self._load_lock:
            self._end_worker()
            self._options = self.loaded = None
            self._set_state("empty", "No local model is loaded.")

    def close(self) -> None:
        """End everything now, running replies included. Nothing can be loaded afterwards."""
        self._closed = True
        self._loader.close()
        if (worker := self._worker) is not None:
            worker.kill()
        self._set_state("empty", "The local model is closed.")

    def _serves(self, options: LoadOptions) -> bool:
        return options == self._options and self._worker is not None and self._worker.alive

    def _description(self) -> LoadedModel:
        if self.loaded is None:
            raise ModelError("The local model was unloaded in the meantime.")
        return self.loaded

    def _switch(self, options: LoadOptions, progress: Progress) -> LoadedModel:
        """Load beside the old worker, then end that one after its reply."""
        old = self._worker
        loaded = self._install(options, self._load(options, progress))
        if old is not None and old.alive:
            threading.Thread(target=self._retire, args=(old,), name="zwaif-retire", daemon=True).start()
        return loaded

    def _replace_worker(self, options: LoadOptions, progress: Progress) -> LoadedModel:
        """Unload the old model first; load it again if the new one fails. Called with a ticket and the lock held."""
        old = self._options
        self._end_worker()
        try:
            loaded = self._load(options, progress)
        except FallbackError as error:
            if old is not None:
                self._install(old, self._load(old, progress))
                self.state_line = f"{old.model} serves on: {error}"
            raise
        return self._install(options, loaded)

    def _load(self, options: LoadOptions, progress: Progress) -> Loaded:
        self._loader.refuse(options)
        serving = self._worker is not None and self._worker.alive
        self._set_state("ready" if serving else "loading", f"Loading {options.model} …")
        try:
            return self._loader.load(options, progress)
        except BaseException as error:
            if serving and self._options is not None:
                self.state_line = f"{self._options.model} serves on. {options.model} could not be loaded: {error}"
            else:
                self._set_state("failed", str(error) or type(error).__name__)
            raise

    def _install(self, options: LoadOptions, started: Loaded) -> LoadedModel:
        self._worker, loaded = started
        self._options, self.loaded = options, loaded
        self._counts.clear()
        self._set_state("ready", f"{options.model} is ready ({loaded.quantization or loaded.dtype}, {loaded.device}).")
        for note in loaded.notes:
            logger.debug("%s", note)
        return loaded

    def _retire(self, worker: WorkerProcess) -> None:
        """End a worker that was replaced, after the reply that runs on it."""
        with self._queue.taken():
            pass
        worker.end()

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _start_again(self) -> WorkerProcess:
        with self._load_lock:
            worker = self._worker
            if worker is not None and worker.alive:
                return worker
            if self._options is None:
                raise ModelError(
                    self.state_line
                    if self.state == "failed"
                    else "No local model is loaded. Press Load Model in Z-Waif's Settings tab."
                )
            logger.debug("Restarting the local model %s.", self._options.model)
            started = self._load(self._options, _quiet)
            self._install(self._options, started)
            return started[0]

    def _note_end(self, worker: WorkerProcess, error: FallbackError) -> FallbackError:
        if self._closed:
            return LocalModelClosed()
        if worker is self._worker:
            hung = isinstance(error, WorkerHung)
            self._set_state("failed", str(error) if hung else f"{error} It starts again with the next reply.")
        return error

    def _set_state(self, state: State, line: str) -> None:
        self.state, self.state_line = state, line
        logger.debug("%s", line)

    # Standing by

    def stand_by(self, options: LoadOptions) -> None:
        """Prepare a standby worker for a quicker load. Blocks and raises as ``StandbyWorker.prepare`` does."""
        self._loader.standby.prepare(absolute(options))
        if self._closed:
            self.dismiss()

    @property
    def standing_by(self) -> int | None:
        """The process of the standby worker, once it is ready; else None."""
        return self._loader.standby.pid

    def dismiss(self) -> None:
        """End the standby worker, ready or not."""
        self._loader.standby.end()

    # Generating

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> ReplyStream:
        """Return the reply's text in pieces, as they are made.

        Nothing happens before the first ``next``. Closing the stream, from any thread, or dropping it stops the
        generation. A reader that stays away while others wait loses its place; when it is back, its reply continues.

        Raises:
            FallbackError: no model can be loaded (at the first ``next``).
            WorkerDied, WorkerHung: at any ``next``; the next reply restarts the worker.
        """
        return ReplyStream(partial(self._replies.pieces, generation, stats if stats is not None else GenerationStats()))

    def read_ahead(self, prompt: str) -> GenerationStats:
        """Have the worker process ``prompt`` now, at low priority, to shorten the wait for a reply that starts with it.

        Does nothing while a reply runs, and stops as soon as somebody wants one; what was processed is kept. Never
        loads or restarts a worker.
        """
        stats = GenerationStats()
        worker = self._worker
        ticket = self._queue.take_idle() if worker is not None and worker.alive else None
        if worker is None or ticket is None:
            return stats
        try:
            request = worker.ask("generate", generation=pack(Generation(prompt, max_tokens=0)), ahead=AHEAD, idle=True)
            ticket.stop_with(lambda: worker.tell("cancel", request.id))
            for event in self._restart.events(worker, request):
                if event["event"] == "done":
                    fill(stats, event["stats"])
        except FallbackError as error:
            logger.debug("Reading ahead ended: %s", error)
        finally:
            ticket.give_back()
        return stats

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without special tokens; works while a reply runs, too.

        Raises:
            FallbackError: no model is loaded, and none can be restarted.
        """
        return self._counts.of(texts)

    def _count(self, texts: Sequence[str]) -> list[int]:
        def ask(worker: WorkerProcess) -> list[int]:
            answer = self._restart.next_event(worker, worker.ask("count", texts=list(texts)))
            return [int(count) for count in answer["counts"]]

        return self._restart.twice(ask)
