"""Sockets that wait for bytes in slices, and that can be closed from another thread when the reply is cancelled.

``close`` alone does not wake a blocked read on Linux. requests and httpx hand out a socket only once the response
headers have come, and a hung server never sends any; so the socket is taken when the connection is made.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

from zwaif_hooks.stream import CancelScope

READ_AHEAD = 65536
"""Bytes requested from a socket at once."""
MOST_BYTES = 64 * 1024 * 1024
"""Largest answer, many times the longest reply. The libraries keep what they cannot parse, so a server that sends a
header, a line or an error page without end would fill the memory until its deadline."""
HTTP = b"HTTP/"
"""How an answer begins. The libraries take anything else for a line, and wait for its end."""
NOT_HTTP = "what listens there does not speak HTTP"
FLOODED = f"{MOST_BYTES >> 20} MB came and it was not the end"
_RESET = struct.pack("ii", 1, 0)
"""``SO_LINGER``: on, for no time."""

_thread = threading.local()


class register_sockets:
    """Register with ``scope`` every connection that this thread opens inside the ``with`` block."""

    def __init__(self, scope: CancelScope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        _thread.scope = self._scope

    def __exit__(self, *_: object) -> None:
        _thread.scope = None


def current_scope() -> CancelScope | None:
    """Return the scope of the request that this thread is sending, or whose answer it waits for."""
    return getattr(_thread, "scope", None)


def hang_up(sock: Any) -> None:
    """End a connection from another thread, and wake the thread that reads from it."""
    with contextlib.suppress(OSError):
        if os.name != "nt":
            # A reset: otherwise a server that waits for room to send would keep waiting for seconds.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.shutdown(socket.SHUT_RDWR)
    if os.name == "nt":
        sock.close()


class PatientSocket:
    """A socket that sends in slices, and whose file waits for bytes in slices. Everything else is the socket's own.

    A timeout of the socket itself would break the buffered file above it, which cannot be read on after one.
    """

    def __init__(self, sock: Any, scope: CancelScope) -> None:
        self._sock = sock
        self._scope = scope

    def sendall(self, data: Any, *_: Any) -> None:
        send_in_slices(self._sock, data, self._scope)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        self._sock.settimeout(self._scope.slice_seconds)
        return io.BufferedReader(_PatientFile(self._sock, self._scope), READ_AHEAD)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def send_in_slices(sock: Any, data: Any, scope: CancelScope) -> None:
    """Send ``data``. A server that is stopped reads nothing, and a picture does not fit into the buffers between."""
    sock.settimeout(scope.slice_seconds)
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except TimeoutError:
            scope.after_empty_wait()


class _PatientFile(io.RawIOBase):
    """The file of a ``PatientSocket``. Until it is closed it keeps the socket open, as the original file would."""

    def __init__(self, sock: Any, scope: CancelScope) -> None:
        self._file = sock.makefile("rb", buffering=0)
        self._receive: Callable[[Any], int] = sock.recv_into
        self._scope = scope
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._scope.before_read()
        while True:
            try:
                size = self._receive(buffer)
                break
            except TimeoutError:
                self._scope.after_empty_wait()
        if self._left == MOST_BYTES and not HTTP.startswith(bytes(buffer[: min(size, len(HTTP))])):
            raise OSError(NOT_HTTP)
        self._left -= size
        if self._left < 0:
            raise OSError(FLOODED)
        return size

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
