"""A chat server on loopback that fails on demand, by name, over real sockets.

One row of the catalogue is one small function: it gets the conversation and writes (or does not write) bytes. It speaks
the OpenAI chat endpoint and Ollama's ``/api/chat``; which one is decided by the path, streamed or not by the request.
"""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ["The ", "primary ", "is ", "speaking ", "in ", "whole ", "sentences."]
REPLY = "".join(WORDS)
HALF = "".join(WORDS[:4])
UNFINISHED = "I was going to tell you about the"
PING_SECONDS = 0.005
MOST_PINGS = 4000
MOST_WORDS = 200_000
RETRY_AFTER = 30
"""Seconds the row ``http_429`` asks to be left alone."""


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
        self.body_of(200, b'{"data": []}')

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.request_body: dict[str, Any] = json.loads(raw)
        self.ollama = self.path.startswith("/api/chat")
        self.server.asked.append(self.request_body)
        self.server.asked_at.append(time.monotonic())
        self.server.headers_seen.append(dict(self.headers))
        self.server.was_asked.release()
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
        for _ in range(MOST_PINGS):
            if self.server.stopping.wait(PING_SECONDS):
                return
            self.ping()

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


def _choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


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
    talk.role()
    talk.reasoning("hm")
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
    talk.body_of(429, b'{"error": "slow down"}', Retry_After=str(RETRY_AFTER))


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
        talk.ping()
    talk.be_silent()


def role_then_silence(talk: Talk) -> None:
    talk.open_stream()
    talk.role()
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


def lists_models_but_hangs(talk: Talk) -> None:
    """Every GET is answered, no chat ever is."""
    talk.be_silent()


def loading_503(talk: Talk) -> None:
    """llama.cpp's server, which lists its model while it is still loading it."""
    talk.body_of(503, b'{"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}')


def busy_503(talk: Talk) -> None:
    talk.body_of(503, b'{"error": "server busy, please try again. maximum pending requests exceeded"}')


def no_models_loaded(talk: Talk) -> None:
    talk.body_of(404, b'{"error": {"message": "No models loaded.", "code": "model_not_found"}}')


def runner_died_500(talk: Talk) -> None:
    talk.body_of(500, b'{"error": "llama runner process has terminated: exit status 2"}')


def wrong_host_400(talk: Talk) -> None:
    talk.body_of(400, b"Invalid host header", "text/plain")


def role_then_abort(talk: Talk) -> None:
    """text-generation-webui without a model."""
    talk.open_stream()
    talk.role()
    talk.abort()


def headers_then_abort(talk: Talk) -> None:
    talk.open_stream()
    talk.abort()


def finish_without_text(talk: Talk) -> None:
    talk.open_stream()
    talk.role()
    talk.complete()


def reasoning_for_ever(talk: Talk) -> None:
    talk.open_stream()
    for _ in range(MOST_PINGS):
        talk.reasoning("hm ")
        if talk.server.stopping.wait(PING_SECONDS):
            return


def reasoning_then_finish(talk: Talk) -> None:
    talk.open_stream()
    talk.reasoning("hm ")
    talk.complete()


def comments_for_ever(talk: Talk) -> None:
    talk.open_stream()
    talk.keep_pinging()


def comments_in_the_middle_for_ever(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.keep_pinging()


def cut_without_end(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.abort()


def empty_delta_then_end(talk: Talk) -> None:
    """Ollama's OpenAI endpoint when its runner dies: the error becomes an empty delta."""
    talk.open_stream()
    talk.say([*WORDS[:4], ""])
    talk.end()


def error_of_vllm_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.event({"object": "error", "message": "engine died", "code": 500})
    talk.end()


def piece_lost_in_the_middle(talk: Talk) -> None:
    """A damaged line that held text: the words behind it would leave a gap."""
    talk.open_stream()
    talk.say(WORDS[:4])
    start = '{"message": {"content": "' if talk.ollama else 'data: {"choices": [{"delta": {"content": "'
    talk.raw(start.encode() + b"in \n\n")
    talk.say(WORDS[5:])
    talk.complete()


def finish_without_done(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    talk.stop_reason()
    talk.end()


def finish_then_abort(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    talk.stop_reason()
    talk.abort()


def finish_then_silence(talk: Talk) -> None:
    """Finished, and the connection is kept open all the same."""
    talk.open_stream()
    talk.say(WORDS)
    talk.stop_reason()
    talk.be_silent()


def done_then_silence(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    talk.raw(b"data: [DONE]\n\n")
    talk.be_silent()


def odd_last_chunks(talk: Talk) -> None:
    """What Z-Waif's own loop stumbles over in perfectly good replies."""
    talk.open_stream()
    talk.say(WORDS)
    for odd in ({"choices": []}, {"choices": None}, {"choices": [{"delta": None, "finish_reason": None}]}):
        talk.event(odd)
    talk.reasoning("done thinking")
    talk.complete()


def endless(talk: Talk) -> None:
    talk.open_stream()
    for _ in range(MOST_WORDS):
        talk.text("hello. ")
    talk.complete()


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
    "finished_in_the_middle",
    "lists_models_but_hangs",
    "loading_503",
    "busy_503",
    "no_models_loaded",
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
)
"""What becomes of these is in the catalogue."""

ROWS: dict[str, Callable[[Talk], None]] = {
    name: globals()[name] for name in (*HEALTHY, *BEFORE_TEXT, *IN_THE_MIDDLE, *OTHERS)
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
        self.headers_seen: list[dict[str, str]] = []
        self.hung_up = threading.Event()
        self.release = threading.Event()
        self.stopping = threading.Event()

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

    def stop(self) -> None:
        self.stopping.set()
        self.release.set()
        self.shutdown()
        self.server_close()
