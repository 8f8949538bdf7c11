"""The demo's LLM server: a real process that speaks OpenAI's chat protocol and can be killed.

    python -m zwaif_fallback.demo.llm_server [PORT]        prints the port it listens on

It knows a handful of sentences. Every reply starts with ``[server N]``, which shows who is speaking.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

MARK = "[server"
SECONDS_A_WORD = 0.06
STORY = (
    "Let me tell you about the lighthouse. Every night the old keeper climbs the stairs, lights the lamp, and waves to "
    "the ships that pass by. One night the lamp went out, so all the ships lit their own lights and waved back."
)
"""The embedded model was trained on this story and can finish it; it loses the thread of sentences it does not know."""
REPLIES = {
    "hello": "Hello! It is good to hear from you. I feel wide awake today.",
    "story": STORY,
}
OTHERWISE = "I am back on my feet, and I am listening. Tell me more."


def reply_to(text: str, serial: int) -> str:
    """Return a reply that differs from every earlier one: Z-Waif asks again when a reply repeats."""
    words = text.lower()
    chosen = next((reply for key, reply in REPLIES.items() if key in words), OTHERWISE)
    return f"{MARK} {serial}] {chosen}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    serial = count(1)

    def handle(self) -> None:
        """Ignore clients that hang up early, as the probe for the server's return does."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def log_message(self, format: str, *args: Any) -> None:
        """The console belongs to the chat."""

    def do_GET(self) -> None:
        self._send_json({"object": "list", "data": [{"id": "demo-server"}]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)))
        said = [message["content"] for message in request.get("messages", []) if message["role"] == "user"]
        text = reply_to(said[-1] if said else "", next(self.serial))
        if request.get("stream"):
            self._stream(text)
            return
        message = {"role": "assistant", "content": text}
        self._send_json({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]})

    def _send_json(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _stream(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        words = text.split(" ")
        for number, word in enumerate(words):
            ended = "stop" if number == len(words) - 1 else None
            delta = {"content": f" {word}" if number else word}
            self._event({"choices": [{"index": 0, "delta": delta, "finish_reason": ended}]})
            time.sleep(SECONDS_A_WORD)
        self.wfile.write(b"0\r\n\r\n")

    def _event(self, data: dict[str, Any]) -> None:
        line = f"data: {json.dumps(data)}\r\n\r\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
        self.wfile.flush()


class ServerProcess:
    """The server as a child process; can be killed and started again on the same port."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, __file__, str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def main(arguments: list[str], handler: type[Handler] = Handler) -> int:
    """Serve on the given port, or a free one, until killed."""
    server = ThreadingHTTPServer(("127.0.0.1", int(arguments[0]) if arguments else 0), handler)
    server.daemon_threads = True
    print(server.server_address[1], flush=True)
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
