"""A chat server on loopback that fails on demand, by name, over real sockets.

One row of the catalogue is one small function: it gets the conversation and writes (or does not write) bytes. It speaks
the OpenAI chat endpoint and Ollama's ``/api/chat``; which one is decided by the path, streamed or not by the request.
"""

from __future__ import annotations

import contextlib
import inspect
import socket
import threading
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from typing import Any

from tests.helpers import fault_rows_before, fault_rows_middle, fault_rows_whole
from tests.helpers.fault_rows_before import RETRY_AFTER
from tests.helpers.fault_talk import HALF, REPLY, UNFINISHED, WORDS, Silence, Talk

__all__ = ["HALF", "REPLY", "RETRY_AFTER", "ROWS", "UNFINISHED", "WORDS", "FaultServer", "Talk"]

HEALTHY: dict[str, str] = {
    "healthy": REPLY,
    "one_json_body": REPLY,
    "role_and_reasoning_first": REPLY,
    "emoji_in_two_halves": "Hi \U0001f600 there.",
    "damaged_line": REPLY,
    "only_done_marker": REPLY,
    "honest_sorry": "Sorry, I'm late. The bus did not come.",
}
"""Row → the reply that Z-Waif must get from the primary."""

BEFORE_TEXT = (
    "http_400",
    "http_401",
    "http_404",
    "http_429",
    "http_500",
    "http_503",
    "html_200",
    "error_in_200",
    "no_bytes_200",
    "blank_reply",
    "no_text_json",
    "silence",
    "headers_then_silence",
    "comments_only",
    "role_then_silence",
    "reset_at_once",
    "apology_of_v114",
)
"""Rows that fail before a word was said."""

IN_THE_MIDDLE = ("reset_in_the_middle", "polite_end_in_the_middle", "error_in_the_middle", "stall_in_the_middle")
"""Rows that fail after ``HALF``."""

OTHERS = (
    "late_but_alive",
    "http_429_until",
    "finished_in_the_middle",
    "lists_models_but_hangs",
    "loading_503",
    "busy_503",
    "no_models_loaded",
    "no_model_503",
    "runner_died_500",
    "wrong_host_400",
    "role_then_abort",
    "headers_then_abort",
    "finish_without_text",
    "reasoning_for_ever",
    "reasoning_then_finish",
    "comments_for_ever",
    "comments_in_the_middle_for_ever",
    "cut_without_end",
    "empty_delta_then_end",
    "error_of_vllm_in_the_middle",
    "piece_lost_in_the_middle",
    "finish_without_done",
    "finish_then_abort",
    "finish_then_silence",
    "done_then_silence",
    "odd_last_chunks",
    "endless",
    "refuses_a_parameter",
    "counts_its_tokens",
)
"""What becomes of these is in the catalogue."""

ROWS: dict[str, Callable[[Talk], None]] = {
    name: row
    for family in (fault_rows_whole, fault_rows_before, fault_rows_middle)
    for name, row in vars(family).items()
    if inspect.isfunction(row)
}


class FaultServer(ThreadingHTTPServer):
    """Listens on a free loopback port; ``fault`` names the row it plays next."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Talk)
        self.fault = "healthy"
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
        ROWS[self.fault](talk)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def be_asked(self, times: int = 1) -> None:
        """Wait until that many requests more have come."""
        for _ in range(times):
            assert self.was_asked.acquire(timeout=20)

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
