"""The worker process that holds a local model: ``python -m zwaif_fallback.local.model_worker``."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from zwaif_fallback.engine_types import Engine, GenerationStats, LoadOptions
from zwaif_fallback.engines.factory import make_engine
from zwaif_fallback.engines.plugin_engine import PluginEngine
from zwaif_fallback.engines.transformers_import import uncollected
from zwaif_fallback.errors import EngineError
from zwaif_fallback.local.low_priority import LowPriorityRunner
from zwaif_fallback.workers.pipe_server import Handler, PipeServer, Request
from zwaif_fallback.workers.protocol import pack, unpack_generation, unpack_options

EngineMaker = Callable[[LoadOptions], Engine]


class _Generation:
    """The generation that is running."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.stats = GenerationStats()
        self.cancelled = False
        self._credit: int = request.fields["ahead"]
        self._changed = threading.Condition()

    def wait_for_credit(self) -> bool:
        """Block until the parent has room for another piece. False if cancelled."""
        with self._changed:
            self._changed.wait_for(lambda: self.cancelled or self._credit > 0)
            self._credit -= 1
            return not self.cancelled

    def acknowledge(self, pieces: int) -> None:
        with self._changed:
            self._credit += pieces
            self._changed.notify_all()

    def cancel(self) -> None:
        with self._changed:
            self.cancelled = True
            self._changed.notify_all()


class ModelWorker:
    """Runs one engine: one load or generation at a time; counting and cancelling are possible meanwhile."""

    def __init__(self, engine_maker: EngineMaker) -> None:
        self._make_engine = engine_maker
        self._engine: Engine | None = None
        self._running: _Generation | None = None
        self._running_lock = threading.Lock()
        self._cancelled_early: set[int] = set()
        self._low_priority = LowPriorityRunner()
        self._reported = (-1, -1, -1)

    def serve(self) -> None:
        queued = {"prepare": self._prepare, "load": self._load, "generate": self._generate}
        immediate = {"count": self._count, "ack": self._acknowledge, "cancel": self._cancel}
        server = PipeServer(
            {op: self._at_its_priority(handler) for op, handler in queued.items()}, immediate, self._report_progress
        )
        server.serve()

    def _at_its_priority(self, handler: Handler) -> Handler:
        def run(request: Request) -> None:
            if request.fields.get("idle"):
                self._low_priority.run(lambda: handler(request))
            else:
                handler(request)

        return run

    def _prepare(self, request: Request) -> None:
        options = unpack_options(request.fields["options"])
        with uncollected():
            self._new_engine(request, options).prepare(options)
        request.reply("prepared")

    def _load(self, request: Request) -> None:
        options = unpack_options(request.fields["options"])
        with uncollected():
            engine = self._new_engine(request, options)
            loaded = engine.load(options, lambda line: request.reply("progress", line=line))
        self._engine = engine
        request.reply("loaded", loaded=pack(loaded))

    def _new_engine(self, request: Request, options: LoadOptions) -> Engine:
        by_plugin = request.fields.get("by_plugin")
        return PluginEngine(**by_plugin) if by_plugin else self._make_engine(options)

    def _count(self, request: Request) -> None:
        request.reply("counts", counts=self._loaded_engine().count_tokens(request.fields["texts"]))

    def _generate(self, request: Request) -> None:
        engine, running = self._loaded_engine(), _Generation(request)
        request.reply("started")
        with self._running_lock:
            pieces = engine.generate(unpack_generation(request.fields["generation"]), running.stats)
            self._running = running
            if request.id in self._cancelled_early:
                self._cancelled_early.discard(request.id)
                running.cancelled = True
        try:
            for piece in pieces if not running.cancelled else ():
                go_on = running.wait_for_credit()
                request.reply("piece", text=piece)  # already generated and counted: a reader that comes back wants it
                if not go_on:
                    break
        finally:
            with self._running_lock:
                self._running = None
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        if running.cancelled:
            running.stats.finish_reason = "cancelled"
        request.reply("done", stats=pack(running.stats))

    def _cancel(self, request: Request) -> None:
        with self._running_lock:
            if self._running is None or self._running.request.id != request.id:
                self._cancelled_early.add(request.id)
                return
            self._running.cancel()
            self._low_priority.hurry()
            if self._engine is not None:
                self._engine.cancel()

    def _acknowledge(self, request: Request) -> None:
        with self._running_lock:
            if self._running is not None and self._running.request.id == request.id:
                self._running.acknowledge(request.fields["pieces"])

    def _loaded_engine(self) -> Engine:
        if self._engine is None:
            raise EngineError("No model is loaded.")
        return self._engine

    def _report_progress(self) -> None:
        """Tell the parent that the generation advances, even while no text comes (a long prompt is being read)."""
        with self._running_lock:
            running = self._running
        if running is None:
            return
        now = (running.request.id, running.stats.prefilled_tokens, running.stats.generated_tokens)
        if now != self._reported:
            self._reported = now
            running.request.reply("beat", prefilled=now[1], generated=now[2])


def main(engine_maker: EngineMaker = make_engine) -> None:
    """Serve until the parent is gone."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    ModelWorker(engine_maker).serve()


if __name__ == "__main__":
    main()
