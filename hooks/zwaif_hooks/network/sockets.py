"""Getting at the socket of a reply: to wait for its bytes in slices, and to wake a read when the reply is given up.

``close`` alone does not wake a blocked read on Linux, and neither requests nor httpx hands out a socket before the
response headers have come; a hung server never sends any.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import os
import socket
import struct
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network import loopback
from zwaif_hooks.network.addresses import is_this_machine
from zwaif_hooks.stream import CancelScope, PrimaryError

if TYPE_CHECKING:
    import httpx
    import requests

READ_AHEAD = 65536
"""Bytes asked of a socket at once."""
MOST_BYTES = 64 * 1024 * 1024
"""Of one answer: many times the longest reply. The libraries keep what they cannot make sense of, and a server that
sends and sends (a header, a line, an error page without end) would fill the memory until its deadline is over."""
HTTP = b"HTTP/"
"""What an answer begins with. The libraries take anything else for a line, and wait for the end of it."""
LAST_CHUNK = b"\r\n0\r\n\r\n"
NOT_ASKED = LAST_CHUNK + b"HTTP/"
"""An answer behind the one that was asked for. In JSON there are no line ends of this kind."""
NOT_HTTP = "what listens there does not speak HTTP"
NO_DELAY = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
FLOODED = f"{MOST_BYTES >> 20} MB came and it was not the end"

_asking = threading.local()


class sockets_to:
    """Register every connection that this thread opens meanwhile with ``scope``."""

    def __init__(self, scope: CancelScope) -> None:
        self._scope = scope

    def __enter__(self) -> None:
        _asking.scope = self._scope

    def __exit__(self, *_: object) -> None:
        _asking.scope = None


def asking() -> CancelScope | None:
    """Of the request of ours that this thread is sending or whose answer it waits for."""
    return getattr(_asking, "scope", None)


_RESET = struct.pack("ii", 1, 0)
"""Of ``SO_LINGER``: on, for no time."""


def hang_up(sock: Any) -> None:
    """End a connection from another thread, waking whoever reads from it."""
    with contextlib.suppress(OSError):
        if os.name != "nt":
            # Closed with a reset: a server that waits for room to send would otherwise ask for it for seconds.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        sock.shutdown(socket.SHUT_RDWR)
    if os.name == "nt":
        sock.close()


class PatientSocket:
    """A socket that sends, and whose file waits for bytes, in slices; all else is the socket's own.

    A timeout of the socket itself would break the buffered file above it, from which there is no reading on.
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
    """A server that reads nothing (it is stopped) takes what fits in between; a picture does not."""
    sock.settimeout(scope.slice_seconds)
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[sock.send(rest) :]
        except TimeoutError:
            scope.after_empty_wait()


class _PatientFile(io.RawIOBase):
    """``closed`` keeps the socket open as the file that it stands for would."""

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


Refuse = Callable[[str], str]
"""Says why a connection to an address (a number) must not be used; empty where it may be."""


def watched_session(like: requests.Session, refuse: Refuse | None = None) -> requests.Session:
    """A session like Z-Waif's own, without its retries (with a fallback ready, six seconds of back-off help nobody).

    Args:
        refuse: is asked about each connection before a byte is sent: a name may lead elsewhere at any time. Then the
            request ends with :class:`PrimaryError`. Adapters are kept for each; pass the same object again.
    """
    session: requests.Session = object.__new__(type(like))
    session.__dict__.update(like.__dict__)
    session.adapters = _adapters(refuse)
    return session


def watch_httpx(client: httpx.Client) -> bool:
    """Have an httpx client report its connections; may be called again for the same client.

    False where its insides are not as we know them: then nobody can hang up on it, and its reads wait for ever. (The
    public way, the ``trace`` extension, is called ten times a request.)
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
    """What makes the connections of an httpx client."""

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
    """To this machine, with httpcore's exceptions."""
    import httpcore

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
    """A connection of httpcore, which may serve for several requests: each one's scope get it when it is written."""

    def __init__(self, stream: Any) -> None:
        import httpcore

        self._library = httpcore
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
            raise self._library.ReadError(FLOODED)
        if not part and self._is_dead():
            raise self._library.ConnectionNotAvailable  # httpcore asks once more, through another one
        if self._is_first:
            self._is_first = False
            if not part.startswith(HTTP[: len(part)]):
                raise self._library.RemoteProtocolError(NOT_HTTP)
        if NOT_ASKED in part:  # it would be taken for the answer to the next question
            return part[: part.index(NOT_ASKED) + len(LAST_CHUNK)]
        return part

    def _is_dead(self) -> bool:
        """It was kept from an earlier request, the server has closed it since, and nobody has read the question."""
        return self._is_first and self._is_kept and not (self._scope is not None and self._scope.cancelled)

    def _received(self, max_bytes: int, scope: CancelScope) -> bytes:
        """Straight from the socket, which is in slices since the question was sent: each chunk comes this way."""
        while True:
            try:
                return bytes(self._plain.recv(max_bytes))
            except TimeoutError:
                scope.after_empty_wait()
            except OSError as error:
                if self._is_dead():
                    return b""
                raise self._library.ReadError(error) from error

    def _deciphered(self, max_bytes: int, scope: CancelScope) -> bytes:
        while True:
            try:
                return bytes(self._stream.read(max_bytes, scope.slice_seconds))
            except self._library.ReadTimeout:
                scope.after_empty_wait()

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if not buffer:  # so ends each question
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
            raise self._library.WriteError(error) from error

    def start_tls(self, *args: Any, **kwargs: Any) -> _WatchedStream:
        return _WatchedStream(self._stream.start_tls(*args, **kwargs))

    def _report(self) -> None:
        scope = asking()
        if scope is self._scope:
            return
        self._scope = scope
        self._left = MOST_BYTES
        if scope is not None:
            scope.on_cancel(partial(hang_up, self._stream.get_extra_info("socket")))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@lru_cache(maxsize=8)
def _adapters(refuse: Refuse | None) -> Any:
    """For every session of ours: nothing of a request stays in them, as each connection serves for one."""
    from requests.adapters import HTTPAdapter
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

    def reported(connection: Any) -> None:
        scope = asking()
        if scope is not None and connection.sock is not None:
            scope.on_cancel(partial(hang_up, connection.sock))
            connection.sock = PatientSocket(connection.sock, scope)

    class Answer(http.client.HTTPResponse):
        """An answer behind others that only say that it will come (102, 103); the library itself knows only 100."""

        def _read_status(self) -> tuple[str, int, str]:
            while True:
                version, status, reason = super()._read_status()  # type: ignore[misc]
                if not http.HTTPStatus.PROCESSING <= status < http.HTTPStatus.OK:
                    return version, status, reason
                http.client.parse_headers(self.fp)

    class Reported:
        response_class = Answer
        _dns_host: str
        port: int
        timeout: Any
        source_address: Any
        socket_options: Any

        def connect(self) -> None:
            super().connect()  # type: ignore[misc]
            reported(self)

        def _new_conn(self) -> Any:
            sock = self._connected()
            if refuse is not None and (why_not := refuse(str(sock.getpeername()[0]))):
                sock.close()
                raise PrimaryError(FailureKind.UNKNOWN, why_not)
            return sock

        def _connected(self) -> Any:
            elsewhere = not is_this_machine(self._dns_host) or self.source_address or hasattr(self, "_socks_options")
            if elsewhere or not isinstance(self.timeout, (int, float)):
                return super()._new_conn()  # type: ignore[misc]
            connection: Any = self
            try:
                sock = loopback.connect(self._dns_host, self.port, self.timeout)
            except TimeoutError as error:
                raise ConnectTimeoutError(connection, str(error)) from error
            except OSError as error:
                raise NewConnectionError(connection, str(error)) from error
            for option in self.socket_options or ():
                sock.setsockopt(*option)
            return sock

    class UsedOnce:
        """A pool that keeps nothing: an idle connection may be dead, and would hold a slot of the server."""

        _new_conn: Callable[[], Any]

        def _get_conn(self, timeout: float | None = None) -> Any:
            return self._new_conn()

        def _put_conn(self, conn: Any) -> None:
            if conn is not None:
                conn.close()

    one_at_a_time = threading.Lock()

    def watch(manager: Any) -> None:
        """Whatever its connections are made by (a SOCKS proxy has its own)."""
        manager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (UsedOnce, pool), {"ConnectionCls": _with(Reported, pool.ConnectionCls)})
            for scheme, pool in manager.pool_classes_by_scheme.items()
        }

    class WatchedAdapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            watch(self.poolmanager)

        def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
            """For who has ``HTTP_PROXY`` set: requests sends even what is for this machine through it."""
            with one_at_a_time:
                known = proxy in self.proxy_manager
                manager = super().proxy_manager_for(proxy, **kwargs)
                if not known:
                    watch(manager)
                return manager

    adapter = WatchedAdapter(max_retries=0)
    return OrderedDict({"https://": adapter, "http://": adapter})


def _with(first: type, then: type) -> type:
    return type(then.__name__, (first, then), {})
