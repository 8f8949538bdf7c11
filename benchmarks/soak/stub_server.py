"""The least that can be killed: ``stub_server.py - PORT`` says one fixed sentence about each question, slowly."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SECONDS_A_WORD = 0.005


def words_about(question: str) -> list[str]:
    return [f"{word} " for word in f"You asked me this: {question} I will think about it until tomorrow.".split()]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a reader that hung up
            for word in words_about(body["messages"][-1]["content"]):
                self.event({"content": word}, None)
                time.sleep(SECONDS_A_WORD)
            self.event({}, "stop")
        self.close_connection = True

    def event(self, delta: dict[str, str], reason: str | None) -> None:
        line = json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})
        self.wfile.write(f"data: {line}\n\n".encode())
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main(_: str, port: str) -> None:
    server = Server(("127.0.0.1", int(port)), Handler)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
