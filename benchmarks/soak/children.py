"""The server under fire: a child process that is started, slowed, frozen and killed by its process id."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil

HERE = Path(__file__).parent
RUN_SECONDS, REST_SECONDS = 0.001, 0.015
"""A model of a million weights says a sentence within milliseconds; in slices it takes as long as a real one's."""
READY_SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerChild:
    """One server program on one port, however often it is killed. Called by one thread, but for ``close``."""

    def __init__(self, program: str, model: str) -> None:
        self.program, self.model = program, model
        self.port = free_port()
        self._command = [sys.executable, str(HERE / program), model, str(self.port)]
        self._process: subprocess.Popen[bytes] | None = None
        self._frozen = False
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.kills = self.starts = self.freezes = 0

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Returns when it listens."""
        process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"{self._command[1]} ended with {process.wait(READY_SECONDS)} before it listened")
        with self._lock:
            self._process, self._frozen = process, False
        self.starts += 1

    def kill(self) -> None:
        """As ``kill -9``, in whatever it is doing."""
        with self._lock:
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(READY_SECONDS)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
            self.kills += 1

    def freeze(self) -> None:
        self._frozen = True
        self.freezes += 1
        self._signal(frozen=True)

    def thaw(self) -> None:
        self._frozen = False
        self._signal(frozen=False)

    def slow_down(self) -> None:
        """From now on it works in short slices only."""
        threading.Thread(target=self._slices, name="soak-slices", daemon=True).start()

    def close(self) -> None:
        self._stop.set()
        self.kill()

    def _slices(self) -> None:
        while not self._stop.wait(RUN_SECONDS):
            self._signal(frozen=True)
            self._stop.wait(REST_SECONDS)
            if not self._frozen:
                self._signal(frozen=False)

    def _signal(self, frozen: bool) -> None:
        with self._lock, contextlib.suppress(psutil.NoSuchProcess):
            if self._process is not None:
                process = psutil.Process(self._process.pid)
                process.suspend() if frozen else process.resume()
