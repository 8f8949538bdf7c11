"""The parent's side of the local model: loaded once, kept, switched while replies run, restarted when it dies."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.errors import EngineError, FallbackError, ModelError, WorkerDied, WorkerHung
from zwaif_fallback.local.fair_queue import FairQueue, Ticket
from zwaif_fallback.local.single_flight import SingleFlight
from zwaif_fallback.local.standby_worker import StandbyWorker
from zwaif_fallback.models.hub_cache import find_in_cache
from zwaif_fallback.models.name_syntax import is_path
from zwaif_fallback.reply_stream import ReplyStream
from zwaif_fallback.workers.process_activity import ProcessActivity
from zwaif_fallback.workers.protocol import pack, unpack_loaded
from zwaif_fallback.workers.worker_process import PendingRequest, WorkerProcess
from zwaif_hooks.messages import Sampling
from zwaif_hooks.stream import CancelScope

logger = logging.getLogger(__name__)

State = Literal["empty", "loading", "ready", "failed"]
Progress = Callable[[str], None]

COUNT_CACHE = 2048
"""Texts whose token count is remembered: a few conversations' worth of messages."""
COMMAND = (sys.executable, "-m", "zwaif_fallback.local.model_worker")
AHEAD = 64
"""Pieces the worker may be ahead of the reader: a reader that stopped stops the model too."""
ACK_EVERY = 8
"""Pieces read before the worker is told; must stay below ``AHEAD``."""
SLOW_DISK = 10e6
"""Bytes a second: what a load gets time for, besides its start."""
LEAST_TO_START = 30.0
"""Seconds for Python and torch, however short the user's own limit is."""
HANGS = 2
"""In a row, after which a model is given up."""
_AGAIN = "It is tried again when its files change, or when you load it."
_TEST = Generation("Hello", max_tokens=1, sampling=Sampling(temperature=0))


def _quiet(line: str) -> None:
    """Nobody listens to the progress of this load."""


class LocalModel:
    """One local model in a worker process. Every method may be called from any thread.

    Args:
        hang_timeout: seconds without any progress after which the worker is killed.
        load_timeout: seconds a load may take at most, however busy it looks.
        abandoned_after: seconds a reader may stay away from its reply while somebody else waits.
        command: starts the worker.
        both_fit: whether the model of these options fits beside the one that is loaded.
        say: tells the user one line: who had to wait, and how long.
    """

    def __init__(
        self,
        *,
        hang_timeout: float = 60.0,
        load_timeout: float = 900.0,
        abandoned_after: float = 30.0,
        command: Sequence[str] = COMMAND,
        both_fit: Callable[[LoadOptions], bool] | None = None,
        say: Progress = logger.debug,
    ) -> None:
        self._hang_timeout = hang_timeout
        self._load_timeout = load_timeout
        self._command = command
        self._both_fit = both_fit or fits_beside
        self._turns = FairQueue(abandoned_after, say=say)
        # Lock order: a turn, then this lock. Held while loading, never while generating.
        self._load_lock = threading.Lock()
        self._restart = SingleFlight(self._restarted)
        self._worker: WorkerProcess | None = None
        self._loading: WorkerProcess | None = None
        self._spare = StandbyWorker(self._new_worker)
        self._options: LoadOptions | None = None
        self._closed = False
        self._hangs = 0
        """Since the last reply that ended."""
        self._given_up: dict[LoadOptions, tuple[object, str]] = {}
        """Models that hung: how their files were, and what the user is told."""
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._counts_lock = threading.Lock()
        self.loaded: LoadedModel | None = None
        """The model that serves, also while its worker is being restarted."""
        self.state: State = "empty"
        self.state_line = "No local model is loaded."

    @property
    def pid(self) -> int | None:
        """The process that holds the model now, for the status page."""
        worker = self._worker
        return worker.pid if worker is not None and worker.alive else None

    def load(self, options: LoadOptions, progress: Progress = _quiet) -> LoadedModel:
        """Load a model, or switch to it: a running reply ends on its own model, a failed switch changes nothing.

        Raises:
            FallbackError: with the remedy; the model that served before serves on.
        """
        options = absolute(options)
        if self._serves(options):
            return self._its_description()
        worker = self._worker
        if worker is None or not worker.alive or self._both_fit(options):
            with self._load_lock:
                return self._its_description() if self._serves(options) else self._switch(options, progress)
        progress("Not enough memory for both models: the old one is unloaded first.")
        turn = self._turns.take()
        try:
            with self._load_lock:
                return self._its_description() if self._serves(options) else self._exchange(options, progress)
        finally:
            turn.give_back()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens. Answers also while a reply runs.

        Raises:
            FallbackError: no model is loaded, and it cannot be restarted.
        """
        with self._counts_lock:
            known = {text: self._counts[text] for text in texts if text in self._counts}
            for text in known:
                self._counts.move_to_end(text)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            known.update(zip(missing, self._count(missing), strict=True))
            self._remember(known)
        return [known[text] for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> ReplyStream:
        """Text pieces as they are made. Nothing happens before the first ``next``; closing or forgetting it stops, and
        closing does so from any thread.

        A reader that stays away while others wait loses its turn and goes on where it was when it is back.

        Raises:
            FallbackError: no model can be loaded (at the first ``next``).
            WorkerDied, WorkerHung: at any ``next``; the next reply restarts the worker by itself.
        """
        return ReplyStream(partial(self._generated, generation, stats if stats is not None else GenerationStats()))

    def _generated(
        self, generation: Generation, total: GenerationStats, scope: CancelScope
    ) -> Generator[str, None, None]:
        rest, text = generation, ""
        while not scope.cancelled:
            part = GenerationStats()
            try:
                for piece in self._one_turn(rest, part, scope):
                    text += piece
                    yield piece
            finally:
                _add(total, part)
            if part.finish_reason != "cancelled" or rest.max_tokens <= part.generated_tokens:
                return
            left = generation.max_tokens - total.generated_tokens
            rest = replace(
                generation, prompt=generation.prompt + text, max_tokens=left, heal=generation.heal + len(text)
            )

    def read_ahead(self, prompt: str) -> GenerationStats:
        """Have the worker read ``prompt`` now, at idle priority, so that a reply to what begins with it comes sooner.

        Does nothing while somebody speaks, and ends as soon as somebody wants to; nothing is loaded or restarted for
        it. What was read stays read.
        """
        stats = GenerationStats()
        worker = self._worker
        turn = self._turns.take_idle() if worker is not None and worker.alive else None
        if worker is None or turn is None:
            return stats
        try:
            reading = pack(Generation(prompt, max_tokens=0))
            exchange = worker.ask("generate", generation=reading, ahead=AHEAD, idle=True)
            turn.stop_with(lambda: worker.tell("cancel", exchange.request))
            for event in self._events(worker, exchange):
                if event["event"] == "done":
                    _fill(stats, event["stats"])
        except FallbackError as error:
            logger.debug("Reading ahead ended: %s", error)
        finally:
            turn.give_back()
        return stats

    def stand_by(self, options: LoadOptions) -> None:
        """Have a process ready in which the next load is quicker. Blocks and raises as ``SpareWorker.prepare``."""
        self._spare.prepare(absolute(options))
        if self._closed:
            self.dismiss()

    @property
    def standing_by(self) -> int | None:
        """The process that has imported what a load needs and waits for one; None where there is none."""
        return self._spare.pid

    def dismiss(self) -> None:
        """End the process that stands by, ready or not."""
        self._spare.end()

    def try_again(self) -> None:
        """The user wants it: a model that hung gets another chance."""
        self._given_up.clear()
        self._hangs = 0

    def unload(self) -> None:
        """End the worker after the running reply: every byte comes back."""
        turn = self._turns.take()
        try:
            with self._load_lock:
                self._end_worker()
                self._options = self.loaded = None
                self._set_state("empty", "No local model is loaded.")
        finally:
            turn.give_back()

    def close(self) -> None:
        """End everything now, running replies included. Nothing can be loaded afterwards."""
        self._closed = True
        self.dismiss()
        for worker in (self._worker, self._loading):
            if worker is not None:
                worker.kill()
        self._set_state("empty", "The local model is closed.")

    # Loading

    def _serves(self, options: LoadOptions) -> bool:
        return options == self._options and self._worker is not None and self._worker.alive

    def _its_description(self) -> LoadedModel:
        if self.loaded is None:
            raise ModelError("The local model was unloaded meanwhile.")
        return self.loaded

    def _switch(self, options: LoadOptions, progress: Progress) -> LoadedModel:
        """Load beside the old worker, then let it go."""
        old = self._worker
        worker, loaded = self._start(options, progress)
        self._install(options, worker, loaded)
        if old is not None and old.alive:
            threading.Thread(target=self._retire, args=(old,), name="zwaif-retire", daemon=True).start()
        return loaded

    def _exchange(self, options: LoadOptions, progress: Progress) -> LoadedModel:
        """Unload first; if the new one fails, load the old one again. Called with the turn and the lock held."""
        old_options = self._options
        self._end_worker()
        try:
            worker, loaded = self._start(options, progress)
        except FallbackError as error:
            if old_options is not None:
                self._install(old_options, *self._start(old_options, progress))
                self.state_line = f"{old_options.model} serves on: {error}"
            raise
        self._install(options, worker, loaded)
        return loaded

    def _start(self, options: LoadOptions, progress: Progress) -> tuple[WorkerProcess, LoadedModel]:
        """A new worker that has loaded the model and spoken one token."""
        self._refuse_if_closed()
        self._refuse_if_given_up(options)
        serving = self._worker is not None and self._worker.alive
        self._set_state("ready" if serving else "loading", f"Loading {options.model} …")
        try:
            worker, loaded = self._load_by_spare(options, progress) or self._load_by_new(options, progress)
            self._try_out(worker, options)
            self._refuse_if_closed()
        except BaseException as error:
            if self._loading is not None:
                self._loading.kill()
            if isinstance(error, WorkerHung):
                self._give_up(options, str(error))
            self._load_failed(options, error, serving)
            raise
        finally:
            self._loading = None
        return worker, loaded

    def _load_by_spare(self, options: LoadOptions, progress: Progress) -> tuple[WorkerProcess, LoadedModel] | None:
        """By the process that stands by; None where none does, or where it ended on the way."""
        self._loading = self._spare.take(options)
        if self._loading is None:
            return None
        try:
            return self._loading, self._load_into(self._loading, options, progress)
        except WorkerDied as error:
            logger.info("The process that stood by could not load %s, so a new one does: %s", options.model, error)
            return None

    def _load_by_new(self, options: LoadOptions, progress: Progress) -> tuple[WorkerProcess, LoadedModel]:
        self._loading = self._new_worker()
        return self._loading, self._load_into(self._loading, options, progress)

    def _new_worker(self) -> WorkerProcess:
        try:
            return WorkerProcess(self._command)
        except OSError as error:
            raise EngineError(
                f"The local model's process could not be started ({error}). "
                "Close other programs, or install Z-Waif's environment again."
            ) from error

    def _try_out(self, worker: WorkerProcess, options: LoadOptions) -> None:
        try:
            for _ in self._events(worker, worker.ask("generate", generation=pack(_TEST), ahead=AHEAD)):
                pass
        except WorkerHung as error:
            raise WorkerHung(
                f"{options.model} said no first word within {self._hang_timeout:.0f} s and was ended. {_AGAIN}"
            ) from error

    def _give_up(self, options: LoadOptions, why: str) -> None:
        self._given_up[options] = (_files_of(options), why)

    def _refuse_if_given_up(self, options: LoadOptions) -> None:
        files, why = self._given_up.get(options, (None, ""))
        if not why:
            return
        if files == _files_of(options):
            raise WorkerHung(why)
        self.try_again()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise EngineError("The local model was closed.")

    def _load_failed(self, options: LoadOptions, error: BaseException, serving: bool) -> None:
        if serving and self._options is not None:
            self.state_line = f"{self._options.model} serves on. {options.model} could not be loaded: {error}"
        else:
            self._set_state("failed", str(error) or type(error).__name__)

    def _load_into(self, worker: WorkerProcess, options: LoadOptions, progress: Progress) -> LoadedModel:
        exchange = worker.ask("load", options=pack(options))
        watch = ProcessActivity(lambda: worker.pid)
        waited = 0.0
        allowed = max(self._hang_timeout, LEAST_TO_START) + sum(size for _, size, _ in _files_of(options)) / SLOW_DISK
        step = min(5.0, self._hang_timeout)
        while True:
            try:
                event = exchange.next_event(step)
            except queue.Empty:
                waited += step
                idle = watch.idle_for(step) >= self._hang_timeout
                # Work is no progress for ever; but a machine that is busy with other things gives it little time.
                lost = waited >= allowed and watch.work >= allowed / 2
                if idle or lost or waited >= self._load_timeout:
                    worker.kill()
                    raise WorkerHung(
                        f"{options.model} did not finish loading within {waited:.0f} s and was ended. {_AGAIN}"
                    ) from None
                continue
            if event["event"] == "loaded":
                return unpack_loaded(event["loaded"])
            watch.stirred()
            progress(event["line"])

    def _install(self, options: LoadOptions, worker: WorkerProcess, loaded: LoadedModel) -> None:
        self._worker, self._options, self.loaded = worker, options, loaded
        with self._counts_lock:
            self._counts.clear()
        self._set_state("ready", f"{options.model} is ready ({loaded.quantization or loaded.dtype}, {loaded.device}).")
        for note in loaded.notes:
            logger.debug("%s", note)

    def _retire(self, worker: WorkerProcess) -> None:
        """End a worker that was replaced, after the reply that runs on it."""
        turn = self._turns.take()
        turn.give_back()
        worker.end()

    def _end_worker(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.end()

    def _set_state(self, state: State, line: str) -> None:
        self.state, self.state_line = state, line
        logger.debug("%s", line)

    def _living_worker(self, scope: CancelScope | None = None) -> WorkerProcess:
        """The worker that serves, restarted if it is gone; who closes ``scope`` need not wait for that."""
        worker = self._worker
        if worker is not None and worker.alive:
            return worker
        return self._restart.result(scope or CancelScope())

    def _restarted(self) -> WorkerProcess:
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
            options = self._options
            worker, loaded = self._start(options, _quiet)
            self._install(options, worker, loaded)
            return worker

    # Speaking

    def _one_turn(self, generation: Generation, stats: GenerationStats, scope: CancelScope) -> Iterator[str]:
        """Pieces until the end, or until the turn was lost (``finish_reason`` is ``cancelled`` then)."""
        turn = self._turns.take(scope)
        worker: WorkerProcess | None = None
        exchange: PendingRequest | None = None
        try:
            if scope.cancelled:
                return
            worker, exchange = self._begin(generation, scope)
            yield from self._pieces(worker, exchange, turn, stats)
        except WorkerDied:
            if not turn.evicted:
                raise
            # Replaced and ended while nobody read this reply: go on with whoever serves now.
            stats.finish_reason = "cancelled"
        finally:
            if worker is not None and exchange is not None and not stats.finish_reason:
                worker.tell("cancel", exchange.request)
            turn.give_back()

    def _begin(self, generation: Generation, scope: CancelScope) -> tuple[WorkerProcess, PendingRequest]:
        """Start generating; a worker that died or hung before it began is replaced once, unnoticed."""
        for last_try in (False, True):
            worker = self._living_worker(scope)
            exchange = worker.ask("generate", generation=pack(generation), ahead=AHEAD)
            scope.on_cancel(exchange.cancel)
            try:
                if (event := self._next_event(worker, exchange))["event"] == "done":
                    exchange.deliver(event)  # cancelled before it began
                return worker, exchange
            except (WorkerDied, WorkerHung) as error:
                self._note_end(worker, error)
                if last_try:
                    raise
        raise AssertionError("the second try returns or raises")

    def _pieces(
        self, worker: WorkerProcess, exchange: PendingRequest, turn: Ticket, stats: GenerationStats
    ) -> Iterator[str]:
        taken = 0
        for event in self._events(worker, exchange):
            if event["event"] == "done":
                self._hangs = 0
                _fill(stats, event["stats"])
            elif event["event"] == "piece":
                stats.generated_tokens += 1  # at least; ``done`` brings the exact number, if it comes
                turn.pause(lambda: worker.tell("cancel", exchange.request))
                yield event["text"]
                turn.resume()
                taken += 1
                if taken % ACK_EVERY == 0:
                    worker.tell("ack", exchange.request, pieces=ACK_EVERY)

    def _events(self, worker: WorkerProcess, exchange: PendingRequest) -> Iterator[dict[str, Any]]:
        """Everything up to and with ``done``."""
        while True:
            try:
                event = self._next_event(worker, exchange)
            except (WorkerDied, WorkerHung) as error:
                self._note_end(worker, error)
                raise
            yield event
            if event["event"] == "done":
                return

    def _next_event(self, worker: WorkerProcess, exchange: PendingRequest) -> dict[str, Any]:
        try:
            return exchange.next_event(self._hang_timeout)
        except queue.Empty:
            worker.kill()
            raise self._hung() from None

    def _hung(self) -> WorkerHung:
        self._hangs += 1
        what = f"The local model made no progress for {self._hang_timeout:.0f} s"
        if self._hangs < HANGS or self._options is None:
            return WorkerHung(f"{what} and was ended; it starts again with the next reply.")
        why = f"{what}, {self._hangs} times in a row, and was ended. {_AGAIN}"
        self._give_up(self._options, why)
        return WorkerHung(why)

    def _note_end(self, worker: WorkerProcess, error: FallbackError) -> None:
        if worker is self._worker and not self._closed:
            hung = isinstance(error, WorkerHung)
            self._set_state("failed", str(error) if hung else f"{error} It starts again with the next reply.")

    def _count(self, texts: Sequence[str]) -> list[int]:
        for last_try in (False, True):
            worker = self._living_worker()
            exchange = worker.ask("count", texts=list(texts))
            try:
                return [int(count) for count in self._next_event(worker, exchange)["counts"]]
            except (WorkerDied, WorkerHung) as error:
                self._note_end(worker, error)
                if last_try:
                    raise
        raise AssertionError("the second try returns or raises")

    def _remember(self, counts: dict[str, int]) -> None:
        with self._counts_lock:
            self._counts.update(counts)
            while len(self._counts) > COUNT_CACHE:
                self._counts.popitem(last=False)


def absolute(options: LoadOptions) -> LoadOptions:
    """Paths as the worker, which runs in another folder, needs them."""
    model, cache = options.model.strip(), options.cache_dir
    if model and is_path(model):
        # Not resolved: a link in the Hugging Face cache has the name of its GGUF file, what it points to has none.
        model = os.path.abspath(Path(model).expanduser())  # noqa: PTH100 - resolve() would follow links
    if cache:
        cache = str(Path(cache).expanduser().resolve())
    return replace(options, model=model, cache_dir=cache)


def _files_of(options: LoadOptions) -> tuple[tuple[str, int, int], ...]:
    """Name, size and time of each file of a model; empty where it is not on this machine."""
    place = Path(options.model) if is_path(options.model) else find_in_cache(options.model, options.cache_dir)
    try:
        files = sorted(place.iterdir()) if place is not None and place.is_dir() else [place] if place else []
        return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    except OSError as error:
        logger.debug("The files of %s cannot be looked at: %s", options.model, error)
        return ()


def fits_beside(options: LoadOptions) -> bool:
    """Whether this model fits into the memory that is free now; True where nobody can tell."""
    # Late, as above: only the switch from one model to another asks.
    from zwaif_fallback.engines.gguf_plan import gguf_fits
    from zwaif_fallback.hardware import memory_now
    from zwaif_fallback.models.memory import estimate_memory
    from zwaif_fallback.models.model_files import is_gguf_model

    folder = Path(options.model) if is_path(options.model) else find_in_cache(options.model, options.cache_dir)
    if folder is None:
        return True
    memory = memory_now()
    if is_gguf_model(folder):
        return gguf_fits(options, memory.ram_free)
    gpu = memory.best_gpu if options.device == "auto" or options.device.startswith("cuda") else None
    four_bit = "4bit" if gpu is not None and options.quantization != "none" else ""
    try:
        needed = estimate_memory(folder, quantization=four_bit, context_window=options.context_window or 2048)
    except (OSError, ValueError, KeyError) as error:
        logger.debug("The size of %s is unknown: %s", options.model, error)
        return True
    return needed.total <= (gpu.free if gpu is not None else memory.ram_free)


def _fill(stats: GenerationStats, fields: dict[str, Any]) -> None:
    for name, value in fields.items():
        setattr(stats, name, value)


def _add(total: GenerationStats, part: GenerationStats) -> None:
    """A reply that was interrupted counts its tokens in parts; the prompt is the first part's."""
    if not total.generated_tokens:
        total.prompt_tokens, total.reused_tokens = part.prompt_tokens, part.reused_tokens
        total.prefilled_tokens = part.prefilled_tokens
    total.generated_tokens += part.generated_tokens
    total.finish_reason = part.finish_reason
