"""A chat server on loopback that fails on demand, by name, over real sockets.

One row of the catalogue is one small function: it gets the conversation and writes (or does not write) bytes. It speaks
the OpenAI chat endpoint and Ollama's ``/api/chat``; which one is decided by the path, streamed or not by the request.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ["The ", "primary ", "is ", "speaking ", "in ", "whole ", "sentences."]
REPLY = "".join(WORDS)
HALF = "".join(WORDS[:4])


class Talk(BaseHTTPRequestHandler):
    """One request; the helpers here are the vocabulary of the rows below."""

    protocol_version = "HTTP/1.1"
    server: FaultServer

    def log_message(self, *_: Any) -> None:
        return

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.server.hung_up.set()

    def do_GET(self) -> None:
        self.body_of(200, b'{"data": []}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.request_body: dict[str, Any] = json.loads(raw)
        self.ollama = self.path.startswith("/api/chat")
        self.server.asked.append(self.request_body)
        self.server.headers_seen.append(dict(self.headers))
        ROWS[self.server.fault](self)

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
            self.event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})

    def complete(self) -> None:
        if self.ollama:
            self.event({"model": "m", "done": True, "message": {"role": "assistant", "content": ""}})
        else:
            self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
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

    def be_silent(self) -> None:
        """Until the client hangs up (which the server notes) or the server is stopped."""
        self.connection.settimeout(0.02)
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


def healthy(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    talk.complete()


def one_json_body(talk: Talk) -> None:
    message = {"role": "assistant", "content": REPLY}
    body = {"model": "m", "done": True, "message": message, "choices": [{"message": message, "finish_reason": "stop"}]}
    talk.body_of(200, json.dumps(body).encode())


def role_and_reasoning_first(talk: Talk) -> None:
    talk.open_stream()
    if not talk.ollama:
        talk.event({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})
        talk.event({"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}, "finish_reason": None}]})
    talk.text("")
    talk.say(WORDS)
    talk.complete()


def emoji_in_two_halves(talk: Talk) -> None:
    talk.open_stream()
    talk.text("Hi ")
    talk.text("\ud83d")
    talk.text("\ude00 there.")
    talk.complete()


def damaged_line(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:3])
    if not talk.ollama:
        talk.raw(b'data: {"choices": [{"delta": {"con\n\n')
    talk.say(WORDS[3:])
    talk.complete()


def only_done_marker(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    if talk.ollama:
        return talk.complete()
    talk.raw(b"data: [DONE]\r\n\r\n")
    talk.end()


def finished_in_the_middle(talk: Talk) -> None:
    """Out of memory in text-generation-webui: the reply just stops, and is called finished."""
    talk.open_stream()
    talk.say(["I was going to ", "tell you about ", "the"])
    talk.complete()


def late_but_alive(talk: Talk) -> None:
    """Speaks when the test says so: a server that was loading its model."""
    talk.open_stream()
    talk.wfile.flush()
    talk.server.release.wait(20)
    talk.say(WORDS)
    talk.complete()


def apology_of_v114(talk: Talk) -> None:
    talk.open_stream()
    talk.say(["Sorry, I'm having ", "connection issues ", "right now."])
    talk.complete()


def honest_sorry(talk: Talk) -> None:
    talk.open_stream()
    talk.say(["Sorry, ", "I'm late. ", "The bus ", "did not come."])
    talk.complete()


def http_400(talk: Talk) -> None:
    talk.body_of(400, b'{"error": "context too long"}')


def http_401(talk: Talk) -> None:
    talk.body_of(401, b'{"error": "bad key"}')


def http_404(talk: Talk) -> None:
    talk.body_of(404, b'{"error": "model not found"}')


def http_429(talk: Talk) -> None:
    talk.body_of(429, b'{"error": "slow down"}', Retry_After="30")


def http_500(talk: Talk) -> None:
    talk.body_of(500, b'{"error": "CUDA out of memory"}')


def http_503(talk: Talk) -> None:
    talk.body_of(503, b'{"error": {"message": "Loading model"}}')


def html_200(talk: Talk) -> None:
    talk.body_of(200, b"<html><body>proxy</body></html>", "text/html")


def error_in_200(talk: Talk) -> None:
    talk.body_of(200, b'{"error": "Unexpected endpoint or method."}')


def no_bytes_200(talk: Talk) -> None:
    talk.body_of(200, b"", "application/x-ndjson" if talk.ollama else "text/event-stream")


def blank_reply(talk: Talk) -> None:
    talk.open_stream()
    talk.text(" \n")
    talk.complete()


def no_text_json(talk: Talk) -> None:
    talk.body_of(200, b'{"model": "m", "done": true, "message": {"role": "assistant"}, "choices": []}')


def silence(talk: Talk) -> None:
    talk.be_silent()


def headers_then_silence(talk: Talk) -> None:
    talk.open_stream()
    talk.wfile.flush()
    talk.be_silent()


def comments_only(talk: Talk) -> None:
    talk.open_stream()
    for _ in range(3):
        if talk.ollama:
            talk.text("")
        else:
            talk.raw(b": ping\n\n")
    talk.be_silent()


def role_then_silence(talk: Talk) -> None:
    talk.open_stream()
    if talk.ollama:
        talk.text("")
    else:
        talk.event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]})
    talk.be_silent()


def reset_at_once(talk: Talk) -> None:
    talk.reset()


def reset_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.reset()


def polite_end_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.end()


def error_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.event({"error": "Compute error" if talk.ollama else {"message": "Compute error"}})
    talk.end()


def stall_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.be_silent()


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

ROWS: dict[str, Callable[[Talk], None]] = {
    name: globals()[name]
    for name in (*HEALTHY, *BEFORE_TEXT, *IN_THE_MIDDLE, "late_but_alive", "finished_in_the_middle")
}


class FaultServer(ThreadingHTTPServer):
    """Listens on a free loopback port; ``fault`` names the row it plays next."""

    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Talk)
        self.fault = "healthy"
        self.asked: list[dict[str, Any]] = []
        self.headers_seen: list[dict[str, str]] = []
        self.hung_up = threading.Event()
        self.release = threading.Event()
        self.stopping = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def handle_error(self, *_: Any) -> None:
        self.hung_up.set()

    def __enter__(self) -> FaultServer:
        threading.Thread(target=lambda: self.serve_forever(0.01), daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stop()

    def stop(self) -> None:
        self.stopping.set()
        self.release.set()
        self.shutdown()
        self.server_close()
