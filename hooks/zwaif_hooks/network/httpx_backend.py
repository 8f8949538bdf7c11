"""The patient side of httpx: connections that wait in slices and can be closed from another thread.

Import this module only once httpx is loaded.
"""

from __future__ import annotations

import socket
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import httpcore

from zwaif_hooks.network import loopback
from zwaif_hooks.network.addresses import is_this_machine
from zwaif_hooks.network.patient_sockets import (
    FLOODED,
    HTTP,
    MOST_BYTES,
    NOT_HTTP,
    current_scope,
    hang_up,
    send_in_slices,
)
from zwaif_hooks.stream import CancelScope

if TYPE_CHECKING:
    import httpx

LAST_CHUNK = b"\r\n0\r\n\r\n"
NOT_ASKED = LAST_CHUNK + b"HTTP/"
"""A second answer after the one that was asked for. JSON has no line ends of this kind."""
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def watch_httpx(client: httpx.Client) -> bool:
    """Make an httpx client report its connections. May be called again for the same client.

    Returns:
        False if its internals are not as expected: then its connections cannot be closed from outside, and its reads
        wait for ever. (The public way, the ``trace`` extension, is called ten times a request.)
    """
    pools: list[Any] = [getattr(transport, "_pool", None) for transport in _transports(client)]
    if not pools or not all(hasattr(pool, "_network_backend") for pool in pools):
        return False
    for pool in pools:
        if not isinstance(pool._network_backend, _WatchedBackend):
            pool._network_backend = _WatchedBackend(pool._network_backend)
    return True


def _transports(client: Any) -> list[Any]:
    mounted = getattr(client, "_mounts", {}).values()
    return [transport for transport in (getattr(client, "_transport", None), *mounted) if transport is not None]


class _WatchedBackend:
    """Opens the connections of an httpx client."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(self, host: str, port: int, timeout: float | None = None, **kwargs: Any) -> _WatchedStream:
        stream = getattr(sys.modules.get("httpcore._backends.sync"), "SyncStream", None)
        if stream is None or timeout is None or not is_this_machine(host) or kwargs.get("local_address"):
            return _WatchedStream(self._backend.connect_tcp(host, port, timeout, **kwargs))
        return _WatchedStream(stream(_connected(host, port, timeout, kwargs.get("socket_options"))))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)


def _connected(host: str, port: int, timeout: float, options: Any) -> socket.socket:
    """Connect to this machine, with httpcore's exceptions."""
    try:
        sock = loopback.connect(host, port, timeout)
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(error) from error
    except OSError as error:
        raise httpcore.ConnectError(error) from error
    for option in (*(options or ()), NO_DELAY):
        sock.setsockopt(*option)
    return sock


class _WatchedStream:
    """A connection of httpcore. It may serve several requests; each one's scope gets it when the request is written."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.get_extra_info = stream.get_extra_info
        self._plain: Any = None if stream.get_extra_info("ssl_object") else stream.get_extra_info("socket")
        self._left = MOST_BYTES
        self._is_first = self._is_kept = self._served = False
        self._scope: CancelScope | None = None
        self._report()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        scope = self._scope
        if scope is None:
            return bytes(self._stream.read(max_bytes, timeout))
        scope.before_read()
        part = (self._received if self._plain is not None else self._deciphered)(max_bytes, scope)
        self._left -= len(part)
        if self._left < 0:
            raise httpcore.ReadError(FLOODED)
        if not part and self._is_dead():
            raise httpcore.ConnectionNotAvailable  # httpcore then repeats the request on a new connection
        if self._is_first:
            self._is_first = False
            if not part.startswith(HTTP[: len(part)]):
                raise httpcore.RemoteProtocolError(NOT_HTTP)
        if NOT_ASKED in part:  # the rest would be taken for the answer to the next request
            return part[: part.index(NOT_ASKED) + len(LAST_CHUNK)]
        return part

    def _is_dead(self) -> bool:
        """Return whether the connection was kept from an earlier request and closed by the server since, so that the
        request was never read."""
        return self._is_first and self._is_kept and not (self._scope is not None and self._scope.cancelled)

    def _received(self, max_bytes: int, scope: CancelScope) -> bytes:
        """Read straight from the socket, whose timeout is one slice since the request was sent."""
        while True:
            try:
                return bytes(self._plain.recv(max_bytes))
            except TimeoutError:
                scope.after_empty_wait()
            except OSError as error:
                if self._is_dead():
                    return b""
                raise httpcore.ReadError(error) from error

    def _deciphered(self, max_bytes: int, scope: CancelScope) -> bytes:
        while True:
            try:
                return bytes(self._stream.read(max_bytes, scope.slice_seconds))
            except httpcore.ReadTimeout:
                scope.after_empty_wait()

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:  # httpcore ends each request so
            return
        self._report()
        if self._scope is None or self._plain is None:
            self._stream.write(buffer, timeout)
            return
        if buffer.startswith((b"POST ", b"GET ")):
            self._is_kept, self._is_first, self._served = self._served, True, True
        try:
            send_in_slices(self._plain, buffer, self._scope)
        except OSError as error:
            raise httpcore.WriteError(error) from error

    def start_tls(self, *args: Any, **kwargs: Any) -> _WatchedStream:
        return _WatchedStream(self._stream.start_tls(*args, **kwargs))

    def _report(self) -> None:
        scope = current_scope()
        if scope is self._scope:
            return
        self._scope = scope
        self._left = MOST_BYTES
        if scope is not None:
            scope.on_cancel(partial(hang_up, self._stream.get_extra_info("socket")))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
