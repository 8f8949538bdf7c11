"""Decides when the LLM server is started again.

Only if its process is gone: it is on this machine, refuses connections, and nothing listens on its port. A server that
is slow, or that answers with errors, is left alone, and so is one that was started but does not listen.
"""

from __future__ import annotations

import contextlib
import errno
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zwaif_fallback.errors import FallbackError
from zwaif_fallback.restart import history
from zwaif_fallback.restart.detached import Started
from zwaif_fallback.restart.history import GAVE_UP, STARTING, WAITING, History
from zwaif_fallback.restart.start_command import StartCommand
from zwaif_hooks import log
from zwaif_hooks.network import loopback
from zwaif_hooks.network.addresses import is_this_machine
from zwaif_hooks.storage import files

PAUSES = (2.0, 15.0, 60.0)
"""Seconds before each try. Something else may restart the server, so even the first one waits."""
POLL_SECONDS = 0.5
"""Between two looks at a port where nothing listens."""
LISTENING_POLL_SECONDS = 2.0
"""The same while something listens there."""
CONNECT_SECONDS = 1.0
LAUNCHER_SECONDS = 60.0
"""A command that ended without an error may have started the server in the background: time for it to listen."""
LISTEN_SECONDS = 300.0
"""Time for a server to listen after its start. text-generation-webui may install something first."""
_NOTHING_THERE = frozenset({errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.ENETUNREACH, errno.EHOSTUNREACH})


class Process(Protocol):
    """A server that was started."""

    @property
    def exit_code(self) -> int | None: ...

    def shorten_output(self) -> None: ...


class Server(Protocol):
    """What is known of the LLM server when it fails."""

    @property
    def program(self) -> str: ...

    def command(self) -> StartCommand: ...


def is_gone(address: str) -> bool:
    """Return whether ``address`` (``host:port``) is on this machine and nothing listens there.

    A server that does not accept the connection in time is still there.
    """
    host, _, port = address.rpartition(":")
    if not port.isdigit() or not is_this_machine(host.strip("[]")):
        return False
    try:
        loopback.connect(host, int(port), CONNECT_SECONDS).close()
    except TimeoutError:
        return False
    except OSError as error:
        return error.errno in _NOTHING_THERE
    return False


@dataclass
class Tools:
    """What the restarter uses of the world. Tests replace some of it."""

    say: Callable[[str], None]
    now: Callable[[], float] = time.time
    wait: Callable[[threading.Event, float], bool] = threading.Event.wait
    """Waits for an event for some seconds, and returns whether it is set."""
    is_gone: Callable[[str], bool] = is_gone
    start: Callable[[StartCommand, Path, str, Path | None], Process] = Started


class Restarter:
    """Starts servers again, each outage in a thread of its own. Thread-safe; every method returns at once.

    Args:
        server: describes the server at an address; None if it is not to be started again.
        tree: returns Z-Waif's folder, where commands run.
    """

    def __init__(
        self, server: Callable[[str], Server | None], tools: Tools, tree: Callable[[], Path | None] = lambda: None
    ) -> None:
        self._server, self._tools, self._tree = server, tools, tree
        self._lock = threading.Lock()
        self._outages: dict[str, threading.Event] = {}
        """By address; set when the outage is over."""
        self._started: dict[str, Process] = {}
        self._closed = False

    def primary_failed(self, address: str) -> None:
        """An outage began."""
        with self._lock:
            if self._closed or address in self._outages:
                return
            over = self._outages[address] = threading.Event()
        threading.Thread(target=self._restart, args=(address, over), name="zwaif-restart", daemon=True).start()

    def primary_recovered(self, address: str) -> None:
        """The outage is over."""
        self._end(address)
        path = history.path_for(address)
        if path.exists():
            past = history.read(path)
            past.state, past.well_since = "", self._tools.now()
            self._save(path, past)

    def setting_changed(self) -> None:
        """``API_FALLBACK_RESTART`` has another value: servers that are down have all their tries again."""
        for address in list(self._outages):
            self._end(address)
            self._save(history.path_for(address), History())
            self.primary_failed(address)

    def primary_answered(self) -> None:
        """A reply came. Keeps the output of the servers short, as they write something for each reply."""
        for started in list(self._started.values()):
            with contextlib.suppress(OSError):  # the file is gone, or another program has it open
                started.shorten_output()

    def close(self) -> None:
        """Z-Waif ends: start nothing more. What was started goes on."""
        with self._lock:
            self._closed = True
            for over in self._outages.values():
                over.set()

    def line(self) -> str:
        """Return what is being done, in one line; empty if nothing is."""
        lines = [history.read(history.path_for(address)).line(self._tools.now()) for address in list(self._outages)]
        return " ".join(line for line in lines if line)

    def _end(self, address: str) -> None:
        with self._lock:
            over = self._outages.pop(address, None)
        if over is not None:
            over.set()

    def _restart(self, address: str, over: threading.Event) -> None:
        try:
            server = self._server(address)
            if server is not None:
                self._until_over(_Outage(address, server, over, history.path_for(address)))
        except Exception as error:
            log.report(f"{address} could not be started again: {log.in_words(error)}", error)

    def _until_over(self, outage: _Outage) -> None:
        while not outage.over.is_set():
            if self._tools.is_gone(outage.address):
                with contextlib.suppress(files.Busy), files.locked(outage.path):  # busy: another Z-Waif restarts it
                    return self._start_until_well(outage)
            self._tools.wait(outage.over, LISTENING_POLL_SECONDS)

    def _start_until_well(self, outage: _Outage) -> None:
        """Start the server as often as is allowed, until the outage is over."""
        past = history.read(outage.path)
        past.failed(self._tools.now())
        past.program, past.most = outage.server.program, len(PAUSES)
        while not outage.over.is_set():
            past.forget_old_tries(self._tools.now())
            if len(past.tries) >= len(PAUSES):
                problem = f"it was started {len(past.tries)} times in an hour. Start it yourself; {outage.see_output}"
            elif self._is_gone_for(outage, past, PAUSES[len(past.tries)]):
                problem = self._try(outage, past)
            else:
                problem = ""
            if problem and not outage.over.is_set():
                return self._give_up(outage, past, problem)
            while not self._tools.is_gone(outage.address):
                if self._tools.wait(outage.over, LISTENING_POLL_SECONDS):
                    return

    def _is_gone_for(self, outage: _Outage, past: History, seconds: float) -> bool:
        """Return whether nothing listens for ``seconds``."""
        now = self._tools.now()
        past.enter(WAITING, now, until=now + seconds)
        self._save(outage.path, past)
        gone = True
        while gone and (left := past.until - self._tools.now()) > 0:
            gone = not self._tools.wait(outage.over, min(POLL_SECONDS, left)) and self._tools.is_gone(outage.address)
        if not gone:
            past.enter("", self._tools.now())
            self._save(outage.path, past)
        return gone

    def _try(self, outage: _Outage, past: History) -> str:
        """Start the server and wait until it listens or has ended. Return why it must not be started again."""
        try:
            started = self._start(outage, past, outage.server.command())
        except FallbackError as problem:
            return str(problem)
        except OSError as error:
            return f"its command cannot be run ({error.strerror or error}). Correct API_FALLBACK_RESTART"
        if started is None:
            return ""
        began = self._tools.now()
        while not self._tools.wait(outage.over, POLL_SECONDS) and self._tools.is_gone(outage.address):
            took, code = self._tools.now() - began, started.exit_code
            if code is not None and (code != 0 or took > LAUNCHER_SECONDS):
                self._tools.say(
                    f"{outage.place} ended before it accepted connections (exit code {code}); {outage.see_output}"
                )
                return ""
            if took > LISTEN_SECONDS:
                return f"it was started but accepts no connections after {took:.0f} s; {outage.see_output}"
        return ""

    def _start(self, outage: _Outage, past: History, command: StartCommand) -> Process | None:
        """Start it once. Return None if Z-Waif ends.

        Raises:
            OSError: the command cannot be run.
        """
        past.tries.append(self._tools.now())
        past.enter(STARTING, self._tools.now())
        self._save(outage.path, past)
        which = f"try {len(past.tries)} of {len(PAUSES)}"
        heading = f"--- {time.strftime('%Y-%m-%d %H:%M:%S')} {which}: {command}"
        with self._lock:
            if self._closed or outage.over.is_set():
                return None
            started = self._tools.start(command, outage.output, heading, self._tree())
            self._started[outage.address] = started
        self._tools.say(f"Starting {outage.place} again ({which}); {outage.see_output}")
        return started

    def _give_up(self, outage: _Outage, past: History, why: str) -> None:
        past.enter(GAVE_UP, self._tools.now(), why=why)
        self._save(outage.path, past)
        self._tools.say(past.line(past.since))

    def _save(self, path: Path, past: History) -> None:
        try:
            history.write(path, past)
        except OSError as error:
            log.note(f"{path} could not be written", error)


@dataclass
class _Outage:
    address: str
    server: Server
    over: threading.Event
    path: Path

    @property
    def place(self) -> str:
        return f"{self.server.program} at {self.address}"

    @property
    def output(self) -> Path:
        return self.path.with_name(f"llm-server-{self.address.rpartition(':')[2]}.log")

    @property
    def see_output(self) -> str:
        return f"its output is in {self.output}"
