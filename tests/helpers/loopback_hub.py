"""A hub on loopback: as much of Hugging Face's protocol as a download uses, and every way in which it can fail."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

COMMIT = "a" * 40


class _Handler(BaseHTTPRequestHandler):
    server: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        hub = self.server
        if hub.refuse_with:
            self._send(hub.refuse_with, b"{}", {"X-Error-Code": hub.error_code}, with_body)
        elif self.path.startswith(f"/api/models/{hub.repository}"):
            sizes = {name: hub.listed.get(name, len(data)) for name, data in hub.files.items()}
            siblings = [{"rfilename": name, "size": size} for name, size in sizes.items()]
            model = {"id": hub.repository, "sha": COMMIT, "siblings": siblings}
            self._send(200, json.dumps(model).encode(), {"Content-Type": "application/json"}, with_body)
        else:
            self._file(unquote(self.path.partition("/resolve/main/")[2]), with_body)

    def _file(self, name: str, with_body: bool) -> None:
        hub = self.server
        hub.fetched.add(name)
        hub.tokens.append(self.headers.get("Authorization", ""))
        if hub.elsewhere and with_body:
            return self._send(302, b"", {"Location": f"{hub.elsewhere}{self.path}"}, with_body)
        data = hub.sent.get(name, hub.files[name])
        etag = hub.etags.get(name) or hashlib.sha256(hub.files[name]).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match and hub.takes_ranges else 0
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        if hub.packed:
            headers["Content-Encoding"] = "gzip"
        if with_body and hub.endless:
            return self._send_without_end(headers)
        cut = None
        if with_body:
            hub.begun_at.append(start)
            cut = hub.cuts.pop(0) if hub.cuts else None
        return self._send(206 if start else 200, data[start:], headers, with_body, cut)

    def _send_without_end(self, headers: Mapping[str, str]) -> None:
        self.send_response(200)
        for key, value in {**headers, "Transfer-Encoding": "chunked"}.items():
            self.send_header(key, value)
        self.end_headers()
        with contextlib.suppress(OSError):  # until the client hangs up
            while True:
                self.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
        self.close_connection = True

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], with_body: bool, cut: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


class LoopbackHub(ThreadingHTTPServer):
    """One repository of the files that are given."""

    daemon_threads = True

    def __init__(self, repository: str, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repository = repository
        self.files = dict(files)
        self.fetched: set[str] = set()
        self.refuse_with = 0
        self.error_code = ""
        self.cuts: list[int] = []
        """After so many bytes the next answers with a file end."""
        self.takes_ranges = True
        self.sent: dict[str, bytes] = {}
        """What is sent instead of what was announced."""
        self.etags: dict[str, str] = {}
        self.listed: dict[str, int] = {}
        """Sizes that the list of files tells instead of the right ones."""
        self.endless = False
        """Whether files never end."""
        self.packed = False
        self.elsewhere = ""
        """The address of a server that has the files' content."""
        self.tokens: list[str] = []
        """What each question about a file brought as its ``Authorization``."""
        self.begun_at: list[int] = []
        """Where each answer with a file began, in bytes."""
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().finish_request(request, client_address)

    def stop(self) -> None:
        """Hangs up, too: a client keeps its connection for the next question, and a thread here would wait for it."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        for connection in self._connections:
            with contextlib.suppress(OSError):  # its client was quicker
                connection.shutdown(socket.SHUT_RDWR)
        self.server_close()


@contextlib.contextmanager
def running_hub(repository: str, files: Mapping[str, bytes]) -> Iterator[LoopbackHub]:
    hub = LoopbackHub(repository, files)
    try:
        yield hub
    finally:
        hub.stop()
