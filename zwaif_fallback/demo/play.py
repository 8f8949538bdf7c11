"""Play the demo: a chat through an outage and back, with real processes and nothing to download.

A small LLM server answers. It is killed in the middle of a sentence, stays away for two messages, and comes back.
The chat is printed with a line under each reply that says who answered.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

from zwaif_fallback.demo import MODEL, zwaif_copy
from zwaif_fallback.demo.host_process import BOTH, FALLBACK, LOADED_AT_ONCE, SERVER, DemoError, HostProcess
from zwaif_fallback.demo.llm_server import ServerProcess
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment

BACK_SECONDS = 120.0
"""Longest wait for the host to notice that its server is back; it looks about once a second."""
WORDS_BEFORE_THE_KILL = 16


class Show:
    """Prints the chat and counts the messages that were not answered by the expected speaker."""

    def __init__(self, host: HostProcess, out: TextIO) -> None:
        self._host = host
        self._out = out
        self.wrong = 0

    def print(self, text: str, end: str = "\n") -> None:
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding) + end)
        self._out.flush()

    def turn(self, text: str, expected: str, on_words: Callable[[int], None] = lambda words: None) -> None:
        """Send ``text``; ``on_words`` is called with the number of words shown so far."""
        self.print(f"\n  You:     {text}\n  Z-Waif:  ", end="")
        shown: list[str] = []

        def piece(part: str) -> None:
            self.print(part.replace("\n", "\n           "), end="")
            shown.append(part)
            on_words(len("".join(shown).split()))

        turn = self._host.say(text, piece)
        if not shown:
            self.print(turn.reply, end="")
        self.print(f"\n           -- answered by {turn.who}" + (f" ({turn.detail()})" if turn.detail() else ""))
        if turn.who != expected:
            self.wrong += 1
            self.print(f"           -- WRONG: expected {expected}")


@contextlib.contextmanager
def _stage(zwaif: Path | None) -> Iterator[tuple[ServerProcess, HostProcess]]:
    """A running server and host; on exit both are ended and the scratch folder is removed."""
    server = ServerProcess()
    with tempfile.TemporaryDirectory(prefix="zwaif-demo-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        env = environment(folder / "site")
        host: HostProcess | None = None
        try:
            server.start()
            values = {"HOST_PORT": f"127.0.0.1:{server.port}", "API_FALLBACK_MODEL": str(MODEL), **LOADED_AT_ONCE}
            if zwaif is None:
                env["ZWAIF_STANDIN_UI"] = "OFF"
                tree = copy_tree(folder / "z-waif", values)
            else:
                tree = zwaif_copy.prepare(zwaif, folder, values, env)
            host = HostProcess(tree, env, folder / "host.log")
            host.event("ready")
            yield server, host
        finally:
            server.kill()
            if host is not None:
                host.close()


def _play(server: ServerProcess, host: HostProcess, show: Show) -> None:
    show.print("Starting a small LLM server, the host, and the local model in its own process …")
    show.print("(If torch has not been used for a while, this takes a minute or more.)")
    host.wait_until_loaded()
    show.print("Ready. The LLM server is running.")
    show.turn("Hello, how are you?", SERVER)

    killed = False

    def kill_it(words: int) -> None:
        nonlocal killed
        if words >= WORDS_BEFORE_THE_KILL and not killed:
            killed = True
            server.kill()
            show.print(" [the server is killed]", end="")

    show.turn("Tell me a story about a lighthouse", BOTH, kill_it)
    show.turn("Tell me a joke", FALLBACK)
    show.turn("Haha, good one", FALLBACK)

    server.start()
    show.print("\nThe LLM server has been started again.")
    show.print("  " + host.wait_for("is back after", longest=BACK_SECONDS))
    show.turn("Are you back?", SERVER)


def run(zwaif: Path | None = None, out: TextIO | None = None) -> int:
    """Play the demo; return 0 if every message was answered by the expected speaker, else 1.

    Args:
        zwaif: a Z-Waif folder, which is copied and not changed; None means the stand-in host.
        out: where to print the chat; the console by default.
    """
    out = out or sys.stdout
    started = time.monotonic()
    try:
        with _stage(zwaif) as (server, host):
            show = Show(host, out)
            _play(server, host, show)
    except (DemoError, zwaif_copy.UnusableTree) as error:
        out.write(f"\nThe demo stopped. {error}\n")
        return 1
    seconds = time.monotonic() - started
    if show.wrong:
        show.print(f"\n{show.wrong} of 5 messages were not answered by the expected speaker ({seconds:.0f} s).")
        return 1
    show.print(f"\nFive messages, five replies, and nobody had to press a button ({seconds:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
