"""One request to the fault server, and the vocabulary in which its rows are written."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zwaif_hooks.testing.fault_server import FaultServer

WORDS = ["The ", "primary ", "is ", "speaking ", "in ", "whole ", "sentences."]
REPLY = "".join(WORDS)
HALF = "".join(WORDS[:4])
UNFINISHED = "I was going to tell you about the"
PING_SECONDS = 0.005
MOST_PINGS = 4000


class Silence:
    """How long somebody has been silent on purpose, in all. Entered and left by the rows of a server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._silent = 0
        self._before = self._since = 0.0
        self.is_over = threading.Event()

    def __enter__(self) -> None:
        with self._lock:
            if not self._silent:
                self._since = time.monotonic()
                self.is_over.clear()
            self._silent += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._silent -= 1
            if not self._silent:
                self._before += time.monotonic() - self._since
                self.is_over.set()

    def seconds(self) -> float:
        with self._lock:
            return self._before + (time.monotonic() - self._since if self._silent else 0.0)


class Talk(BaseHTTPRequestHandler):
    """One request; the helpers here are the vocabulary of the rows below."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: FaultServer

    def log_message(self, *_: Any) -> None:
        return

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.server.hung_up.set()

    def do_GET(self) -> None:
        self.server.looked_at.append(self.path)
        self.body_of(200, json.dumps(self.server.facts.get(self.path, {"data": []})).encode())

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.request_body: dict[str, Any] = json.loads(raw)
        self.ollama = self.path.endswith("/api/chat")
        self.server.asked.append(self.request_body)
        self.server.asked_at.append(time.monotonic())
        self.server.headers_seen.append(dict(self.headers))
        self.server.was_asked.release()
        self.server.play(self)

    def body_of(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def open_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson" if self.ollama else "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def raw(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def event(self, obj: Any) -> None:
        line = json.dumps(obj).encode()
        self.raw(line + b"\n" if self.ollama else b"data: " + line + b"\n\n")

    def text(self, text: str) -> None:
        if self.ollama:
            self.event({"model": "m", "done": False, "message": {"role": "assistant", "content": text}})
        else:
            self.event(_choice({"content": text}))

    def role(self) -> None:
        if self.ollama:
            self.text("")
        else:
            self.event(_choice({"role": "assistant", "content": ""}))

    def reasoning(self, text: str) -> None:
        if self.ollama:
            message = {"role": "assistant", "content": "", "thinking": text}
            self.event({"model": "m", "done": False, "message": message})
        else:
            self.event(_choice({"reasoning_content": text}))

    def stop_reason(self) -> None:
        if self.ollama:
            self.event({"model": "m", "done": True, "message": {"role": "assistant", "content": ""}})
        else:
            self.event(_choice({}, "stop"))

    def complete(self) -> None:
        self.stop_reason()
        if not self.ollama:
            self.event({"choices": [], "usage": {"total_tokens": 9}})
            self.raw(b"data: [DONE]\n\n")
        self.end()

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def say(self, words: list[str]) -> None:
        for word in words:
            self.text(word)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def abort(self) -> None:
        """Close politely where the terminating chunk is still owed."""
        self.close_connection = True

    def ping(self) -> None:
        if self.ollama:
            self.text("")
        else:
            self.raw(b": ping\n\n")

    def keep_pinging(self) -> None:
        """What proxies and servers send to show that the connection lives: never a word of the reply."""
        with self.server.silence:
            for _ in range(MOST_PINGS):
                if self.server.stopping.wait(PING_SECONDS):
                    return
                self.ping()

    def be_silent(self) -> None:
        """Until the client hangs up (which the server notes) or the server is stopped."""
        self.connection.settimeout(0.02)
        with self.server.silence:
            while not self.server.stopping.is_set():
                try:
                    if not self.connection.recv(1):
                        break
                except TimeoutError:
                    continue
                except OSError:
                    break
        self.server.hung_up.set()
        self.close_connection = True


def _choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
