"""The servers of the benchmark, in a process of their own: one port for each row of failures, and the second server.

Started by :class:`Servers`; speaks JSON lines: the ports first, then one answer for each row named on standard input.
Ends when standard input ends, so it does not outlive the benchmark.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)] if str(ROOT) not in sys.path else []

from tests.helpers.fault_server import REPLY, ROWS, FaultServer, Talk  # noqa: E402

PACED_CHUNKS, PACE_SECONDS = 150, 0.002
BURST_CHUNKS = 1000
PINGS_SECONDS = 6.0
"""How long the row of pings goes on before it hangs up: three times the deadline that everyone is given."""
PING_EVERY = 0.25
PRIMARY_ROWS = (
    "healthy",
    "paced",
    "burst",
    "http_503",
    "reset_at_once",
    "silence",
    "pings",
    "role_then_silence",
    "polite_end_in_the_middle",
    "error_in_the_middle",
    "reset_in_the_middle",
    "no_bytes_200",
    "blank_reply",
)
SECOND_ROWS = ("goes_on", "says_it_again", "overlaps")
"""How a model behaves that is given the beginning of its own reply; all three are seen in the field."""


class Standard(Talk):
    """With every field OpenAI's own servers send, so that no client stumbles over one that is missing; no Nagle."""

    disable_nagle_algorithm = True

    def event(self, obj: Any) -> None:
        if "choices" in obj:
            obj = {"id": "c", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m", **obj}
        super().event(obj)

    def frame(self, text: str) -> bytes:
        """One chunk of text, ready to be written."""
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        head = {"id": "c", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "m"}
        data = b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"
        return b"%x\r\n%s\r\n" % (len(data), data)


def paced(talk: Standard) -> None:
    """500 chunks a second, each holding the time at which it was sent (``perf_counter_ns`` is the whole machine's)."""
    talk.open_stream()
    due = time.perf_counter()
    for _ in range(PACED_CHUNKS):
        due += PACE_SECONDS
        time.sleep(max(0.0, due - time.perf_counter()))
        talk.text(f"{time.perf_counter_ns()} ")
    talk.complete()


def burst(talk: Standard) -> None:
    """Everything at once: the reader is the slower side."""
    talk.open_stream()
    talk.wfile.write(b"".join(talk.frame(f"word{number} ") for number in range(BURST_CHUNKS)))
    talk.complete()


def pings(talk: Standard) -> None:
    talk.open_stream()
    for _ in range(int(PINGS_SECONDS / PING_EVERY)):
        talk.raw(b": ping\n\n")
        time.sleep(PING_EVERY)
    talk.reset()


def goes_on(talk: Standard) -> None:
    second(talk, REPLY.removeprefix(begun_reply(talk)))


def says_it_again(talk: Standard) -> None:
    second(talk, REPLY)


def overlaps(talk: Standard) -> None:
    begun = begun_reply(talk)
    second(talk, REPLY[begun.rstrip().rfind(" ") + 1 :] if begun else REPLY)


def second(talk: Standard, text: str) -> None:
    talk.open_stream()
    talk.say([word + " " for word in text.split(" ")[:-1]] + [text.rpartition(" ")[2]])
    talk.complete()


def begun_reply(talk: Standard) -> str:
    last = talk.request_body["messages"][-1]
    return str(last["content"]) if last["role"] == "assistant" else ""


class RowServer(FaultServer):
    """Plays one row for ever."""

    request_queue_size = 256

    def __init__(self, row: str) -> None:
        super().__init__()
        self.RequestHandlerClass = Standard
        self.fault = row


def serve() -> None:
    """The process: until standard input ends."""
    own: tuple[Any, ...] = (paced, burst, pings, goes_on, says_it_again, overlaps)
    ROWS.update({row.__name__: row for row in own})
    running = {row: RowServer(row).__enter__() for row in (*PRIMARY_ROWS, *SECOND_ROWS)}
    print(json.dumps({row: server.address for row, server in running.items()}), flush=True)
    for line in sys.stdin:
        asked = running[line.strip()].asked
        print(json.dumps([body["messages"][-1]["content"] for body in list(asked)]), flush=True)
    for server in running.values():
        server.stopping.set()


class Servers:
    """The process, seen from the benchmark: ``address[row]`` and what each row was asked."""

    def __enter__(self) -> Servers:
        command = [sys.executable, str(Path(__file__).resolve())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address: dict[str, str] = json.loads(self._line())
        self.address["refused"] = unused_address()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def asked(self, row: str) -> list[str]:
        """The last message of every request that this row has seen, in order."""
        assert self._process.stdin
        self._process.stdin.write(row + "\n")
        self._process.stdin.flush()
        found: list[str] = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


def unused_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


if __name__ == "__main__":
    serve()
