"""Getting at the socket of a reply that is being read in another thread, to wake that read when the reply is given up.

``close`` alone does not wake a blocked read on Linux, and neither requests nor httpx hands out a socket before the
response headers have come; a hung server never sends any. Both offer public hooks for new connections, used here.
"""

from __future__ import annotations

import contextlib
import copy
import os
import socket
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from zwaif_hooks.pump import Closers

if TYPE_CHECKING:
    import httpx
    import requests

_asking = threading.local()


@contextlib.contextmanager
def sockets_to(closers: Closers) -> Iterator[None]:
    """Register every connection that this thread opens meanwhile with ``closers``."""
    _asking.closers = closers
    try:
        yield
    finally:
        _asking.closers = None


def hang_up(sock: Any) -> None:
    """End a connection from another thread, waking whoever reads from it."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    if os.name == "nt":
        sock.close()


def watched_session(like: requests.Session) -> requests.Session:
    """A session like Z-Waif's own, without its retries (with a fallback ready, six seconds of back-off help nobody)."""

    session = copy.copy(like)
    session.adapters = OrderedDict[str, Any]()
    adapter = _adapter()
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def watch_httpx(client: httpx.Client) -> None:
    """Have an httpx client report its connections; may be called again for the same client."""
    hooks = client.event_hooks
    if _report_connection not in hooks.get("request", []):
        client.event_hooks = {**hooks, "request": [*hooks.get("request", []), _report_connection]}


def _report_connection(request: httpx.Request) -> None:
    closers: Closers | None = getattr(_asking, "closers", None)
    if closers is None:
        return
    request.headers["Connection"] = "close"

    def trace(event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            sock = info["return_value"].get_extra_info("socket")
            closers.add(lambda: hang_up(sock))

    request.extensions = {**request.extensions, "trace": trace}


def _adapter() -> Any:
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    global _Adapter
    if _Adapter is not None:
        return _Adapter(max_retries=0)

    def reported(connection: Any) -> None:
        closers: Closers | None = getattr(_asking, "closers", None)
        if closers is not None and connection.sock is not None:
            closers.add(lambda sock=connection.sock: hang_up(sock))  # type: ignore[misc]

    class PlainConnection(HTTPConnection):
        def connect(self) -> None:
            super().connect()
            reported(self)

    class TlsConnection(HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            reported(self)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    class WatchedAdapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": TlsPool}

        def close(self) -> None:
            """Of urllib3 2 this only forgets the connections; a failure that is kept would keep the server's slot."""
            for manager in (self.poolmanager, *self.proxy_manager.values()):
                for key in list(manager.pools.keys()):
                    pool = manager.pools.get(key)
                    if pool is not None:
                        pool.close()
            super().close()

    _Adapter = WatchedAdapter
    return WatchedAdapter(max_retries=0)


_Adapter: Any = None
