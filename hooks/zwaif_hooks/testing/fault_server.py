"""A chat server on loopback that fails on demand, by name, over real sockets.

It speaks the OpenAI chat endpoint and Ollama's ``/api/chat``; which one is decided by the path, streamed or not by the
request.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import ThreadingHTTPServer
from typing import Any

from zwaif_hooks.testing.fault_talk import WORDS, Silence, Talk
from zwaif_hooks.testing.faults import FAULTS


class FaultServer(ThreadingHTTPServer):
    """Listens on loopback, on a free port unless one is given. Use it in a ``with`` statement, or call ``stop``.

    ``fault`` names what it does with the next requests: a row of ``rows``, first ``healthy``.
    """

    rows: Mapping[str, Callable[[Talk], None]] = FAULTS

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Talk)
        self.fault = "healthy"
        self.words = list(WORDS)
        """The healthy reply, in pieces."""
        self.asked: list[dict[str, Any]] = []
        self.asked_at: list[float] = []
        """When each request of ``asked`` came, in seconds of ``time.monotonic``."""
        self.was_asked = threading.Semaphore(0)
        self.looked_at: list[str] = []
        """Paths of the GET requests: model lists and the like, which always answer."""
        self.facts: dict[str, Any] = {}
        """What a GET of a path tells; the others get an empty list."""
        self.headers_seen: list[dict[str, str]] = []
        self.silence = Silence()
        self.hung_up = threading.Event()
        self.release = threading.Event()
        self.stopping = threading.Event()
        self._connections: set[socket.socket] = set()

    def play(self, talk: Talk) -> None:
        self.rows[self.fault](talk)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def be_asked(self, times: int = 1) -> None:
        """Wait until that many requests more have come.

        Raises:
            TimeoutError: one did not come within 20 s.
        """
        for _ in range(times):
            if not self.was_asked.acquire(timeout=20):
                raise TimeoutError("the server was not asked")

    def handle_error(self, *_: Any) -> None:
        self.hung_up.set()

    def __enter__(self) -> FaultServer:
        threading.Thread(target=lambda: self.serve_forever(0.01), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def stop(self) -> None:
        """As a server dies: the connections it kept open for the next request go with it."""
        self.stopping.set()
        self.release.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
