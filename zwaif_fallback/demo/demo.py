"""A chat through an outage and back, with real processes and nothing to download.

A small LLM server answers; it is killed in the middle of a sentence, stays away for two messages, and comes back.
Everything is printed as a chat, with a plain line under each reply that says who answered it.
"""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TextIO

from zwaif_fallback.demo import real_tree
from zwaif_fallback.demo.primary import MARK
from zwaif_fallback.local.process_activity import ProcessActivity
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.standin.launch import environment

HERE = Path(__file__).resolve().parent
MODEL = HERE / "model"
IDLE_SECONDS = 120.0
"""Longest wait for a host process that does nothing; a load that stands still it ends, and says so, before that."""
LONGEST = 1200.0
"""Longest wait for one event of a host that is busy: a load may take 15 minutes (``LocalModel``)."""
BACK_SECONDS = 120.0
"""Longest wait until the host notices that its server is there again; it looks about once a second."""
_STEP = 5.0
_POLLING = 0.02
"""The share of a processor that a host spends on polling."""
READY, NOT_READY = "Fallback ready: ", "Fallback not "
SERVER, FALLBACK, BOTH, NOBODY = "the LLM server", "the fallback model", "the server, then the fallback model", "nobody"


LOADED_AT_ONCE = {"API_FALLBACK_PRELOAD": "start"}
"""So that a message is not the first to wait for the model, which may take longer than a reply should."""


class DemoError(Exception):
    """The demo could not be played to its end; the text says why."""


class NotLoaded(DemoError):
    """The fallback model could not be loaded; the text is the host's line about it."""


class Server:
    """The LLM server, a process that can be killed and started again on the same port."""

    def __init__(self) -> None:
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, str(HERE / "primary.py"), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@dataclass
class Turn:
    """One message and what came of it."""

    reply: str
    fallback: str
    """The fallback's log line, empty where the server did it alone."""
    error: str

    @property
    def who(self) -> str:
        if self.error or not self.reply:
            return NOBODY
        if not self.fallback:
            return SERVER
        return BOTH if MARK in self.reply else FALLBACK

    def detail(self) -> str:
        """The model's name and the reason, from the log line."""
        return self.error or self.fallback.partition("fallback API: ")[2].replace(str(MODEL), "the embedded model")


class Chat:
    """The host process."""

    def __init__(self, tree: Path, env: dict[str, str], log: Path) -> None:
        command = [sys.executable, str(HERE / "chat_child.py"), str(log)]
        self._process = subprocess.Popen(
            command, cwd=tree, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self._log = log
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        assert self._process.stdout is not None
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def _read(self, stdout: IO[str]) -> None:
        for line in stdout:
            self._events.put(json.loads(line))
        self._events.put({"gone": True})

    def event(
        self, key: str, on_piece: Callable[[str], None] = lambda piece: None, longest: float = LONGEST
    ) -> dict[str, Any]:
        """The next event with ``key``, for as long as the host or the model's process is busy.

        Raises:
            DemoError: the host ended, did nothing for :data:`IDLE_SECONDS`, or was busy for ``longest`` seconds.
        """
        while True:
            event = self._next(longest)
            if event.get("gone"):
                raise DemoError(f"The host process ended.\n{self._last_lines()}")
            if "piece" in event:
                on_piece(event["piece"])
            if key in event:
                return event

    def _next(self, longest: float) -> dict[str, Any]:
        busy = ProcessActivity(lambda: self._process.pid, _POLLING)
        waited = 0.0
        while True:
            try:
                return self._events.get(timeout=_STEP)
            except queue.Empty:
                waited += _STEP
            if busy.idle_for(_STEP) >= IDLE_SECONDS:
                raise DemoError(f"The host did nothing for {IDLE_SECONDS:.0f} s.\n{self._last_lines()}")
            if waited >= longest:
                raise DemoError(f"The host was not done after {longest / 60:.0f} minutes.\n{self._last_lines()}")

    def say(self, text: str, on_piece: Callable[[str], None]) -> Turn:
        self._send(say=text)
        event = self.event("reply", on_piece)
        return Turn(event["reply"], event["fallback"], event["error"])

    def wait_for(self, *texts: str, longest: float = LONGEST) -> str:
        """The host's log line with one of ``texts``. DemoError as in :meth:`event`."""
        self._send(wait_for=texts)
        return str(self.event("found", longest=longest)["found"])

    def loaded(self) -> None:
        """Wait until the fallback model is loaded.

        Raises:
            NotLoaded: the host says that it cannot be.
            DemoError: as in :meth:`event`.
        """
        line = self.wait_for(READY, NOT_READY)
        if NOT_READY in line:
            raise NotLoaded(line[line.index(NOT_READY) :])

    def _send(self, **command: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()

    def _last_lines(self) -> str:
        return "\n".join(self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])

    def close(self) -> None:
        """End the host; killed where it does not leave by itself, as a microphone loop does not."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Show:
    """Prints the chat and remembers whether everybody who answered was the one who should."""

    def __init__(self, chat: Chat, out: TextIO) -> None:
        self._chat = chat
        self._out = out
        self.wrong = 0

    def print(self, text: str, end: str = "\n") -> None:
        encoding = getattr(self._out, "encoding", None) or "utf-8"
        self._out.write(text.encode(encoding, "replace").decode(encoding) + end)
        self._out.flush()

    def turn(self, text: str, expected: str, on_words: Callable[[int], None] = lambda words: None) -> None:
        """Say ``text``; ``on_words`` hears how many words of the reply have been shown so far."""
        self.print(f"\n  You:     {text}\n  Z-Waif:  ", end="")
        shown: list[str] = []

        def piece(part: str) -> None:
            self.print(part.replace("\n", "\n           "), end="")
            shown.append(part)
            on_words(len("".join(shown).split()))

        turn = self._chat.say(text, piece)
        if not shown:
            self.print(turn.reply, end="")
        self.print(f"\n           -- answered by {turn.who}" + (f" ({turn.detail()})" if turn.detail() else ""))
        if turn.who != expected:
            self.wrong += 1
            self.print(f"           -- WRONG: this should have been {expected}")


@contextlib.contextmanager
def _stage(zwaif: Path | None) -> Iterator[tuple[Server, Chat]]:
    """Server and host, both running; both ended afterwards, and the scratch folder removed."""
    server = Server()
    with tempfile.TemporaryDirectory(prefix="zwaif-demo-", ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        env = environment(folder / "site")
        chat: Chat | None = None
        try:
            server.start()
            values = {"HOST_PORT": f"127.0.0.1:{server.port}", "API_FALLBACK_MODEL": str(MODEL), **LOADED_AT_ONCE}
            if zwaif is None:
                env["ZWAIF_STANDIN_UI"] = "OFF"
                tree = copy_tree(folder / "z-waif", values)
            else:
                tree = real_tree.prepare(zwaif, folder, values, env)
            chat = Chat(tree, env, folder / "host.log")
            chat.event("ready")
            yield server, chat
        finally:
            server.kill()
            if chat is not None:
                chat.close()


def _play(server: Server, chat: Chat, show: Show) -> None:
    show.print("Starting: a small LLM server, the host, and the fallback model in its own process …")
    show.print("(Where torch has not been used for a while, this takes a minute or more.)")
    chat.loaded()
    show.print("Ready. The LLM server is running.")
    show.turn("Hello, how are you?", SERVER)

    killed = False

    def kill_it(words: int) -> None:
        nonlocal killed
        if words >= 16 and not killed:
            killed = True
            server.kill()
            show.print(" [the server is killed]", end="")

    show.turn("Tell me a story about a lighthouse", BOTH, kill_it)
    show.turn("Tell me a joke", FALLBACK)
    show.turn("Haha, good one", FALLBACK)

    server.start()
    show.print("\nThe LLM server has been started again.")
    show.print("  " + chat.wait_for("is back after", longest=BACK_SECONDS))
    show.turn("Are you back?", SERVER)


def run(zwaif: Path | None = None, out: TextIO | None = None) -> int:
    """Play the demo; 0 when every message was answered by the one who should, else 1.

    Args:
        zwaif: a Z-Waif folder, which is copied, not touched; ``None`` means the stand-in host.
        out: where the chat is printed, the console by default.
    """
    out = out or sys.stdout
    started = time.monotonic()
    try:
        with _stage(zwaif) as (server, chat):
            show = Show(chat, out)
            _play(server, chat, show)
    except (DemoError, real_tree.UnusableTree) as error:
        out.write(f"\nThe demo stopped. {error}\n")
        return 1
    seconds = time.monotonic() - started
    if show.wrong:
        show.print(f"\n{show.wrong} of 5 messages were answered by somebody else than expected ({seconds:.0f} s).")
        return 1
    show.print(f"\nFive messages, five replies, and nobody had to press a button ({seconds:.0f} s).")
    return 0


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
