"""A healthy primary that costs as little as it can, in a process of its own, so that what is measured is the client.

It speaks the OpenAI chat endpoint and Ollama's ``/api/chat`` from bytes made beforehand. The user's message says how:
``short`` (one sentence of 7 chunks), ``burst`` (as much as the network takes) or ``paced N`` (N chunks a second, each
holding the time at which it was sent). Prints its port, then the number of requests so far for each line on standard
input; ends when standard input ends.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WORDS = ("Once ", "upon ", "a ", "time ", "there ", "was ", "light.")
BURST_CHUNKS = 1000
PACED_SECONDS = 0.5
"""How long a paced reply lasts; 60 chunks are the least."""
FEWEST_PACED = 60


def frame(text: str, ollama: bool, done: bool = False) -> bytes:
    """One chunk of HTTP's chunked encoding with one event in it, all fields as the real servers send them."""
    if ollama:
        message = {"role": "assistant", "content": text}
        event = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": message, "done": done}
        data = json.dumps(event | ({"done_reason": "stop"} if done else {})).encode() + b"\n"
    else:
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop" if done else None}
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
        data = b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\r\n\r\n"
    return b"%x\r\n%s\r\n" % (len(data), data)


def opening(ollama: bool) -> bytes:
    kind = b"application/x-ndjson" if ollama else b"text/event-stream; charset=utf-8"
    return b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n"


LAST = b"0\r\n\r\n"
SHORT = {o: opening(o) + b"".join(frame(w, o) for w in WORDS) + frame("", o, True) + LAST for o in (False, True)}
BURST = {
    o: opening(o) + b"".join(frame(f"word{n} ", o) for n in range(BURST_CHUNKS)) + frame("", o, True) + LAST
    for o in (False, True)
}


class Server:
    """One thread for each connection, which is kept open between requests as the real servers do."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.requests = 0

    def accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            try:
                while first := lines.readline():
                    self._answer(connection, b"/api/chat" in first, lines.read(_length(lines)))
            except OSError:
                return

    def _answer(self, connection: socket.socket, ollama: bool, body: bytes) -> None:
        self.requests += 1
        manner, _, pace = str(json.loads(body)["messages"][-1]["content"]).partition(" ")
        if manner == "paced":
            _pace(connection, ollama, float(pace))
        else:
            connection.sendall((BURST if manner == "burst" else SHORT)[ollama])


def _length(lines: object) -> int:
    length = 0
    while (line := lines.readline()) not in (b"\r\n", b""):  # type: ignore[attr-defined]
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return length


def _pace(connection: socket.socket, ollama: bool, a_second: float) -> None:
    connection.sendall(opening(ollama))
    due = time.perf_counter()
    for _ in range(max(FEWEST_PACED, int(a_second * PACED_SECONDS))):
        due += 1 / a_second
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.sendall(frame(f"{time.perf_counter_ns()} ", ollama))
    connection.sendall(frame("", ollama, True) + LAST)


class Running:
    """The process, seen from the benchmark."""

    def __enter__(self) -> Running:
        command = [sys.executable, str(Path(__file__).resolve())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = f"127.0.0.1:{self._line()}"
        return self

    def requests(self) -> int:
        """How many requests it has answered."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._line())

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()


def main() -> None:
    server = Server()
    threading.Thread(target=server.accept, daemon=True).start()
    print(server.port, flush=True)
    for _ in sys.stdin:
        print(server.requests, flush=True)


if __name__ == "__main__":
    main()
