"""The worker's side of the pipes: reads requests, runs their handlers and sends the answers.

It ends the process as soon as the parent's end of the pipe is closed, whatever is running: Z-Waif may have been closed
or killed.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NoReturn

from zwaif_fallback.engines.hard_exit import leave
from zwaif_fallback.workers.end_with_parent import end_with_parent
from zwaif_fallback.workers.protocol import decode_request, encode, pack_error

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5


class Request:
    """One request from the parent, with the fields that ``protocol.OPS`` lists."""

    def __init__(self, message: dict[str, Any], send: Callable[..., None]) -> None:
        self.id: int = message["id"]
        self.op: str = message["op"]
        self.fields = message
        self._send = send

    def reply(self, event: str, **fields: Any) -> None:
        """Send one answer; may be called from any thread."""
        self._send(self.id, event, **fields)

    def fail(self, error: BaseException) -> None:
        """Send ``error`` as the final answer."""
        self.reply("error", **pack_error(error))


Handler = Callable[[Request], None]


def _nothing() -> None:
    """Nothing to do on a tick."""


class PipeServer:
    """Serves the parent's requests until the parent is gone.

    Args:
        queued: a handler for each operation that runs on the thread that called ``serve``, one after the other.
        immediate: handlers that run at once on the reading thread, even while another request is running; they must
            be quick.
        on_tick: called every :data:`TICK_SECONDS` from a thread of its own.
    """

    def __init__(
        self,
        queued: Mapping[str, Handler],
        immediate: Mapping[str, Handler] | None = None,
        on_tick: Callable[[], None] = _nothing,
    ) -> None:
        self._queued = queued
        self._immediate = immediate or {}
        self._on_tick = on_tick
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._output = -1
        self._output_lock = threading.Lock()

    def serve(self) -> NoReturn:
        """Serve for ever; the reading thread ends the process."""
        source, self._output = take_pipes()
        end_with_parent()
        # Ctrl+C in Z-Waif's console may reach this process too, but Z-Waif decides when it ends.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
        self._send(0, "hello", pid=os.getpid())
        for target in (lambda: self._read(source), self._tick):
            threading.Thread(target=target, daemon=True).start()
        while True:
            request = self._requests.get()
            self._handle(request, self._queued[request.op])

    def _read(self, source: BinaryIO) -> None:
        try:
            for line in source:
                try:
                    message = decode_request(line)
                except ValueError as error:
                    logger.warning("Skipped an invalid line from the parent (%s): %.200r", error, line)
                else:
                    self._dispatch(Request(message, self._send))
        finally:
            # Not sys.exit: nothing may outlive the parent, and native code may be busy for minutes.
            leave()

    def _dispatch(self, request: Request) -> None:
        if request.op in self._immediate:
            self._handle(request, self._immediate[request.op])
        elif request.op in self._queued:
            self._requests.put(request)
        else:
            logger.warning("This worker does not support %s.", request.op)

    def _handle(self, request: Request, handler: Handler) -> None:
        try:
            handler(request)
        except Exception as error:  # the parent gets the error, and the worker stays ready for the next request
            logger.exception("%s failed", request.op)
            request.fail(error)

    def _send(self, request_id: int, event: str, **fields: Any) -> None:
        line = encode({"id": request_id, "event": event, **fields})
        with self._output_lock:
            while line:
                line = line[os.write(self._output, line) :]

    def _tick(self) -> None:
        """Also end with a parent whose forked child keeps the pipe open."""
        parent = os.getppid()
        tick = threading.Event()
        while not tick.wait(TICK_SECONDS):
            if os.name == "posix" and os.getppid() != parent:
                leave()
            self._on_tick()


def take_pipes() -> tuple[BinaryIO, int]:
    """Move the two pipes off the standard handles, where libraries would interfere with them.

    Afterwards stdin is empty, and everything printed goes to stderr.
    """
    source, output = os.fdopen(os.dup(0), "rb"), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    if sys.platform == "win32":
        _set_standard_handles()
        # A crash must end the process at once, without a dialog that nobody clicks while Z-Waif waits for the model.
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
        """Python's C runtime does this by itself in ``python.exe``, but not in ``pythonw.exe``."""
        set_handle = ctypes.WinDLL("kernel32").SetStdHandle
        set_handle.argtypes = [wintypes.DWORD, wintypes.HANDLE]
        for name, descriptor in ((-10, 0), (-11, 1), (-12, 2)):
            set_handle(name & 0xFFFFFFFF, msvcrt.get_osfhandle(descriptor))
