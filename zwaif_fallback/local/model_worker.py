"""The worker process that holds a local model: ``python -m zwaif_fallback.local.model_worker``.

It ends as soon as the parent's end of its pipe is gone, whatever it is doing: Z-Waif may have been closed or killed.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, BinaryIO

from zwaif_fallback.engine_types import Engine, GenerationStats, LoadOptions
from zwaif_fallback.engines.factory import make_engine
from zwaif_fallback.engines.hard_exit import leave
from zwaif_fallback.engines.transformers_import import uncollected
from zwaif_fallback.errors import EngineError
from zwaif_fallback.local.low_priority import LowPriorityRunner
from zwaif_fallback.workers.end_with_parent import hold_on
from zwaif_fallback.workers.protocol import decode_request, encode, pack, pack_error, unpack_generation, unpack_options

logger = logging.getLogger(__name__)

BEAT_SECONDS = 0.5
"""How often progress is reported while no text comes, for example while a long prompt is being read."""
AHEAD = 64
"""Pieces that may be on their way before the parent has taken them: a reader that stopped stops the model too."""

EngineMaker = Callable[[LoadOptions], Engine]


class _Reply:
    """The generation that runs now."""

    def __init__(self, request: int, ahead: int) -> None:
        self.request = request
        self.stats = GenerationStats()
        self.cancelled = False
        self.credit = ahead
        self.changed = threading.Condition()

    def wait_for_credit(self) -> bool:
        """Take leave to send one piece. False: cancelled."""
        with self.changed:
            self.changed.wait_for(lambda: self.cancelled or self.credit > 0)
            self.credit -= 1
            return not self.cancelled

    def acknowledge(self, pieces: int) -> None:
        with self.changed:
            self.credit += pieces
            self.changed.notify_all()

    def cancel(self) -> None:
        with self.changed:
            self.cancelled = True
            self.changed.notify_all()


class Worker:
    """One engine behind the pipe. Loads and generates on the thread that called ``serve``; the rest answers at once."""

    def __init__(self, output: int, engine_maker: EngineMaker = make_engine) -> None:
        self._output = output
        self._output_lock = threading.Lock()
        self._make_engine = engine_maker
        self._engine: Engine | None = None
        self._jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._reply: _Reply | None = None
        self._reply_lock = threading.Lock()
        self._cancelled_early: set[int] = set()
        self._idle = LowPriorityRunner()

    def serve(self, input_stream: BinaryIO) -> None:
        """Work for ever: the reading thread ends the process at the end of ``input_stream``."""
        self._send(0, "hello", pid=os.getpid())
        for target in (lambda: self._read(input_stream), self._beat):
            threading.Thread(target=target, daemon=True).start()
        while True:
            self._run(self._jobs.get())

    def _read(self, input_stream: BinaryIO) -> None:
        try:
            for line in input_stream:
                try:
                    message = decode_request(line)
                except ValueError as error:
                    logger.warning("The parent sent a line that is not ours (%s): %.200r", error, line)
                else:
                    self._receive(message)
        finally:
            # Not sys.exit: nothing may outlive the parent, and native code may be busy for minutes.
            leave()

    def _receive(self, message: dict[str, Any]) -> None:
        op = message["op"]
        if op in ("prepare", "load", "generate", "unload"):
            self._jobs.put(message)
        elif op == "cancel":
            self._cancel(message["id"])
        elif op == "ack":
            self._acknowledge(message["id"], message["pieces"])
        elif op in ("count", "ping"):
            self._guarded(self._count if op == "count" else self._pong, message)
        else:
            logger.warning("This worker cannot %s.", op)

    def _run(self, message: dict[str, Any]) -> None:
        work = {
            "prepare": self._prepare,
            "load": self._load,
            "generate": self._generate,
            "unload": self._unload,
        }[message["op"]]
        if message.get("idle"):
            self._idle.run(lambda: self._guarded(work, message))
        else:
            self._guarded(work, message)

    def _guarded(self, work: Callable[[dict[str, Any]], None], message: dict[str, Any]) -> None:
        try:
            work(message)
        except Exception as error:  # the parent is told, and the worker stays for the next request
            logger.exception("%s failed", message["op"])
            self._send(message["id"], "error", **pack_error(error))

    def _send(self, request: int, event: str, **fields: Any) -> None:
        line = encode({"id": request, "event": event, **fields})
        with self._output_lock:
            while line:
                line = line[os.write(self._output, line) :]

    def _prepare(self, message: dict[str, Any]) -> None:
        options = unpack_options(message["options"])
        with uncollected():
            self._make_engine(options).prepare(options)
        self._send(message["id"], "prepared")

    def _load(self, message: dict[str, Any]) -> None:
        request, options = message["id"], unpack_options(message["options"])
        with uncollected():
            engine = self._make_engine(options)
            loaded = engine.load(options, lambda line: self._send(request, "progress", line=line))
        self._engine = engine
        self._send(request, "loaded", loaded=pack(loaded))

    def _count(self, message: dict[str, Any]) -> None:
        self._send(message["id"], "counts", counts=self._loaded_engine().count_tokens(message["texts"]))

    def _pong(self, message: dict[str, Any]) -> None:
        self._send(message["id"], "pong")

    def _unload(self, message: dict[str, Any]) -> None:
        if self._engine is not None:
            self._engine.unload()
        self._engine = None
        self._send(message["id"], "unloaded")

    def _generate(self, message: dict[str, Any]) -> None:
        request, engine = message["id"], self._loaded_engine()
        reply = _Reply(request, message.get("ahead", AHEAD))
        self._send(request, "started")
        with self._reply_lock:
            pieces = engine.generate(unpack_generation(message["generation"]), reply.stats)
            self._reply = reply
            if request in self._cancelled_early:
                self._cancelled_early.discard(request)
                reply.cancelled = True
        try:
            for piece in pieces if not reply.cancelled else ():
                go_on = reply.wait_for_credit()
                self._send(request, "piece", text=piece)  # made and counted: a reader that comes back wants it
                if not go_on:
                    break
        finally:
            with self._reply_lock:
                self._reply = None
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        if reply.cancelled:
            reply.stats.finish_reason = "cancelled"
        self._send(request, "done", stats=pack(reply.stats))

    def _cancel(self, request: int) -> None:
        with self._reply_lock:
            if self._reply is None or self._reply.request != request:
                self._cancelled_early.add(request)
                return
            self._reply.cancel()
            self._idle.hurry()
            if self._engine is not None:
                self._engine.cancel()

    def _acknowledge(self, request: int, pieces: int) -> None:
        with self._reply_lock:
            if self._reply is not None and self._reply.request == request:
                self._reply.acknowledge(pieces)

    def _loaded_engine(self) -> Engine:
        if self._engine is None:
            raise EngineError("No model is loaded.")
        return self._engine

    def _beat(self) -> None:
        """Report progress; end with the parent where a forked child of it holds the pipe open."""
        parent, before = os.getppid(), (-1, -1, -1)
        tick = threading.Event()
        while not tick.wait(BEAT_SECONDS):
            if os.name == "posix" and os.getppid() != parent:
                leave()
            with self._reply_lock:
                reply = self._reply
            if reply is None:
                continue
            now = (reply.request, reply.stats.prefilled_tokens, reply.stats.generated_tokens)
            if now != before:
                before = now
                self._send(reply.request, "beat", prefilled=now[1], generated=now[2])


def take_pipes() -> tuple[BinaryIO, int]:
    """The protocol's two pipes, moved off the standard handles, on which nothing is left for a library to disturb.

    Whoever reads stdin then finds its end, and what is printed goes to stderr.
    """
    source, output = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.platform == "win32":
        _set_standard_handles()
        # A crash ends the process at once, with no window that waits for a click while Z-Waif waits for the model.
        msvcrt.SetErrorMode(msvcrt.SEM_FAILCRITICALERRORS | msvcrt.SEM_NOGPFAULTERRORBOX)
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    return source, output


if sys.platform == "win32":
    import ctypes
    import msvcrt
    from ctypes import wintypes

    def _set_standard_handles() -> None:
        """Python's C runtime does it by itself in ``python.exe``, but not in ``pythonw.exe``."""
        set_handle = ctypes.WinDLL("kernel32").SetStdHandle
        set_handle.argtypes = [wintypes.DWORD, wintypes.HANDLE]
        for name, descriptor in ((-10, 0), (-11, 1), (-12, 2)):
            set_handle(name & 0xFFFFFFFF, msvcrt.get_osfhandle(descriptor))


def run(make_worker: Callable[[int], Worker]) -> None:
    """Serve until the parent is gone."""
    source, output = take_pipes()
    hold_on()
    # Ctrl+C in Z-Waif's console reaches this process too; Z-Waif decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    make_worker(output).serve(source)


def main(engine_maker: EngineMaker = make_engine) -> None:
    """The worker for text models."""
    run(lambda output: Worker(output, engine_maker))


if __name__ == "__main__":
    main()
