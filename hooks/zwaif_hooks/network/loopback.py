"""Connects to a server on this machine, and detects a dead port within milliseconds on every system.

Windows retries a local port where nothing listens for two seconds. It also tries the addresses of ``localhost`` one
after the other, ::1 first, where few servers listen. So a slow attempt continues beside the next one, and if none
succeeds, the table of listening sockets tells a dead port from a busy server. The connection is always tried first: a
server behind WSL's mirrored network is in no table.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections.abc import Sequence
from typing import Any

from zwaif_hooks.network.listening_ports import somebody_listens

BESIDE_SECONDS = 0.005
"""After this time the next address is tried as well."""
LOOK_SECONDS = 0.05
"""After this time the table is read; connecting to a server that listens takes microseconds."""

_answers_at: dict[tuple[str, int], int] = {}
"""The address family at which each server answered last; it is tried first."""


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """Return a socket connected to ``host``, a name or address of this machine, with ``timeout`` (seconds) set.

    Raises:
        ConnectionRefusedError: nothing listens there.
        TimeoutError: something listens but did not accept the connection in time.
        OSError: any other reason.
    """
    places = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    if len(places) > 1:
        known = _answers_at.get((host, port))
        places.sort(key=lambda place: place[0] != known)
    attempts = _Attempts(timeout)
    try:
        connected = attempts.first_of(places)
    finally:
        attempts.close()
    if len(places) > 1:
        _answers_at[(host, port)] = connected.family
    connected.settimeout(timeout)
    return connected


class _Attempts:
    """Several connections to one server that are being made at the same time."""

    def __init__(self, timeout: float) -> None:
        self._until = time.monotonic() + timeout
        self._pending: dict[socket.socket, Any] = {}
        self._failure = OSError(errno.EADDRNOTAVAIL, "the name has no address")

    def first_of(self, places: Sequence[Any]) -> socket.socket:
        for place in places:
            connected = self._begun(place, LOOK_SECONDS if place is places[-1] else BESIDE_SECONDS)
            if connected is not None:
                return connected
        connected = self._completed(0.0)
        if connected is None and self._pending:
            self._give_up_what_is_dead()
            connected = self._completed(self._until - time.monotonic())
        if connected is not None:
            return connected
        if self._pending:
            raise TimeoutError(errno.ETIMEDOUT, "the connection was not accepted in time")
        raise self._failure

    def close(self) -> None:
        for sock in self._pending:
            sock.close()

    def _begun(self, place: Any, seconds: float) -> socket.socket | None:
        """Start one connection. Return it if it is connected already; otherwise it is pending or has failed."""
        family, kind, protocol, _, address = place
        try:
            sock = socket.socket(family, kind, protocol)
        except OSError as error:  # this machine has no IPv6
            self._failure = error
            return None
        sock.settimeout(max(0.0, min(seconds, self._until - time.monotonic())))
        try:
            sock.connect(address)
            return sock
        except (TimeoutError, BlockingIOError):
            self._pending[sock] = address
        except OSError as error:
            sock.close()
            self._failure = error
        return None

    def _completed(self, seconds: float) -> socket.socket | None:
        """Return the first socket that is connected within ``seconds``; drop those that fail."""
        until = time.monotonic() + seconds
        while self._pending:
            ready = self._ready(until - time.monotonic())
            if not ready:
                return None
            for sock in ready:
                address = self._pending.pop(sock)
                error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if error == 0:
                    return sock
                self._fail(sock, address, error)
        return None

    def _ready(self, seconds: float) -> list[socket.socket]:
        with selectors.DefaultSelector() as selector:
            for sock in self._pending:
                selector.register(sock, selectors.EVENT_WRITE, sock)
            return [key.data for key, _ in selector.select(max(0.0, seconds))]

    def _give_up_what_is_dead(self) -> None:
        for sock, address in list(self._pending.items()):
            if not somebody_listens(address[0], address[1]):
                del self._pending[sock]
                self._fail(sock, address, errno.ECONNREFUSED)

    def _fail(self, sock: socket.socket, address: Any, error: int) -> None:
        sock.close()
        self._failure = OSError(error, f"{os.strerror(error)}: {address[0]}:{address[1]}")
