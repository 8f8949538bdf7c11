"""The patient side of requests: connections that wait in slices and can be closed from another thread.

Import this module only once requests is loaded. It relies on internals of urllib3 and of ``http.client``, which it
checks first (``can_watch``).
"""

from __future__ import annotations

import http
import http.client
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache, lru_cache, partial
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError
from urllib3.poolmanager import PoolManager

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network import loopback
from zwaif_hooks.network.addresses import is_this_machine
from zwaif_hooks.network.patient_sockets import PatientSocket, current_scope, hang_up
from zwaif_hooks.stream import PrimaryError

Refuse = Callable[[str], str]
"""Says why a connection to an address (a number) must not be used; empty if it may be."""

POOL_INTERNALS = ("_new_conn", "_get_conn", "_put_conn", "ConnectionCls")
CONNECTION_INTERNALS = ("_new_conn", "_dns_host", "port", "timeout", "source_address", "socket_options", "sock")


@cache
def can_watch() -> bool:
    """Return whether urllib3 and ``http.client`` have the internals that watched connections override.

    If not, sessions are left as they are, and replies are read in a background thread that nobody waits for.
    """
    connection = HTTPConnection("localhost", 1)
    return (
        all(hasattr(HTTPConnectionPool, name) for name in POOL_INTERNALS)
        and all(hasattr(connection, name) for name in CONNECTION_INTERNALS)
        and hasattr(PoolManager(), "pool_classes_by_scheme")
        and hasattr(http.client.HTTPResponse, "_read_status")
    )


def watched_session(like: requests.Session, refuse: Refuse | None = None) -> requests.Session:
    """Return a session like Z-Waif's own, but without retries: with a fallback ready, six seconds of back-off are lost.

    Args:
        refuse: is asked about each connection before a byte is sent, because a name may lead elsewhere at any time. If
            it refuses, the request ends with ``PrimaryError``. Adapters are cached for each function.
    """
    session: requests.Session = object.__new__(type(like))
    session.__dict__.update(like.__dict__)
    session.adapters = _adapters(refuse)
    return session


@lru_cache(maxsize=8)
def _adapters(refuse: Refuse | None) -> Any:
    """Adapters for every session. They keep nothing of a request, as each connection serves for one."""
    if can_watch():
        adapter: HTTPAdapter = WatchedAdapter(refuse)
    elif refuse is None:
        adapter = HTTPAdapter(max_retries=0)
    else:
        cause = "the installed urllib3 is too different to check where a connection leads"
        raise PrimaryError(FailureKind.UNKNOWN, cause)
    return OrderedDict({"https://": adapter, "http://": adapter})


class WatchedAdapter(HTTPAdapter):
    """Opens a watched connection for each request."""

    def __init__(self, refuse: Refuse | None) -> None:
        self._refuse = refuse
        self._lock = threading.Lock()
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        """Watch the proxy's connections, too: with ``HTTP_PROXY`` set, requests uses it even for this machine."""
        with self._lock:
            known = proxy in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **kwargs)
            if not known:
                self._watch(manager)
            return manager

    def _watch(self, manager: Any) -> None:
        """Derive the manager's own pool classes: a SOCKS proxy has special ones."""
        manager.pool_classes_by_scheme = {
            scheme: _watched_pool(pool, self._refuse) for scheme, pool in manager.pool_classes_by_scheme.items()
        }


def _watched_pool(pool: Any, refuse: Refuse | None) -> type:
    refused = {"refuse": staticmethod(refuse) if refuse is not None else None}
    connection = type(pool.ConnectionCls.__name__, (_WatchedConnection, pool.ConnectionCls), refused)
    return type(pool.__name__, (_PoolWithoutReuse, pool), {"ConnectionCls": connection})


class _PoolWithoutReuse:
    """Keeps no connection: an idle one may be dead, and occupies a slot of the server."""

    _new_conn: Callable[[], Any]

    def _get_conn(self, timeout: float | None = None) -> Any:
        return self._new_conn()

    def _put_conn(self, conn: Any) -> None:
        if conn is not None:
            conn.close()


class _Response(http.client.HTTPResponse):
    """Skips responses that only announce the real one (102, 103); the library itself skips only 100."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not http.HTTPStatus.PROCESSING <= status < http.HTTPStatus.OK:
                return version, status, reason
            http.client.parse_headers(self.fp)


class _WatchedConnection:
    """Registers its socket with the current scope, and connects quickly to this machine."""

    response_class = _Response
    refuse: Refuse | None
    sock: Any
    _dns_host: str
    port: int
    timeout: Any
    source_address: Any
    socket_options: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        scope = current_scope()
        if scope is not None and self.sock is not None:
            scope.on_cancel(partial(hang_up, self.sock))
            self.sock = PatientSocket(self.sock, scope)

    def _new_conn(self) -> Any:
        sock = self._connected()
        if self.refuse is not None and (why_not := self.refuse(str(sock.getpeername()[0]))):
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
