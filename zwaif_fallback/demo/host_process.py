"""The host process that the demo and the self-test talk to: Z-Waif, or the stand-in for it."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from zwaif_fallback.demo import MODEL
from zwaif_fallback.demo.llm_server import MARK
from zwaif_fallback.workers.process_activity import ProcessActivity

CHILD = Path(__file__).with_name("host_child.py")
IDLE_SECONDS = 120.0
"""How long a host process may do nothing. A stalled load is ended, and reported, sooner than that."""
LONGEST = 1200.0
"""Longest wait for one event while the host is busy; a load may take 15 minutes (``LocalModel``)."""
_STEP = 5.0
_POLLING = 0.02
"""The share of one processor that a host uses while it only polls."""
READY, NOT_READY = "Fallback ready: ", "Fallback not "
SERVER, FALLBACK, BOTH, NOBODY = "the LLM server", "the local model", "the server, then the local model", "nobody"

LOADED_AT_ONCE = {"API_FALLBACK_PRELOAD": "start"}
"""Load the model at start-up, so that no reply has to wait for it longer than its deadline."""


class DemoError(Exception):
    """The demo could not be finished; the text says why."""


class NotLoaded(DemoError):
    """The local model could not be loaded; the text is the host's line about it."""


@dataclass
class Turn:
    """One message and its reply."""

    reply: str
    fallback: str
    """The fallback's log line; empty if the server answered alone."""
    error: str

    @property
    def who(self) -> str:
        if self.error or not self.reply:
            return NOBODY
        if not self.fallback:
            return SERVER
        return BOTH if MARK in self.reply else FALLBACK

    def detail(self) -> str:
        """The model's name and the reason for the takeover, from the log line."""
        return self.error or self.fallback.partition("fallback API: ")[2].replace(str(MODEL), "the embedded model")


class HostProcess:
    """A running host, controlled through the pipes of ``host_child``."""

    def __init__(self, tree: Path, env: dict[str, str], log: Path) -> None:
        command = [sys.executable, str(CHILD), str(log)]
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
        """Return the next event with ``key``; wait as long as the host or the model's process is busy.

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
        activity = ProcessActivity(lambda: self._process.pid, _POLLING)
        waited = 0.0
        while True:
            try:
                return self._events.get(timeout=_STEP)
            except queue.Empty:
                waited += _STEP
            if activity.idle_for(_STEP) >= IDLE_SECONDS:
                raise DemoError(f"The host did nothing for {IDLE_SECONDS:.0f} s.\n{self._last_lines()}")
            if waited >= longest:
                raise DemoError(f"The host was still busy after {longest / 60:.0f} minutes.\n{self._last_lines()}")

    def say(self, text: str, on_piece: Callable[[str], None]) -> Turn:
        """Send one message and return the turn; ``on_piece`` gets the reply's pieces as the host shows them."""
        self._send(say=text)
        event = self.event("reply", on_piece)
        return Turn(event["reply"], event["fallback"], event["error"])

    def wait_for(self, *texts: str, longest: float = LONGEST) -> str:
        """Return the host's log line that contains one of ``texts``. Raises DemoError as :meth:`event` does."""
        self._send(wait_for=texts)
        return str(self.event("found", longest=longest)["found"])

    def wait_until_loaded(self) -> None:
        """Wait until the local model is loaded.

        Raises:
            NotLoaded: the host reports that it cannot be.
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
        """End the host; kill it if it does not exit by itself (a microphone loop does not)."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
