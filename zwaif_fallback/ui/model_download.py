"""A download from the page: in a thread of its own, watched by every window, ended by a button."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from zwaif_fallback.downloads.transfer import Progress, Report, Stop
from zwaif_fallback.errors import FallbackError
from zwaif_hooks import log


class Download(Protocol):
    """``zwaif_fallback.downloads.download.download`` with the folders filled in."""

    def __call__(self, name: str, say: Callable[[str], None], *, report: Report, stop: Stop) -> Path: ...


class ModelDownload:
    """One download at a time."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._name = self._shown = ""
        self.progress: Progress | None = None
        self.failed = False
        """Whether the last one ended without a model that can be used."""
        self.line = ""
        """How far it is, or how it ended."""

    @property
    def active(self) -> bool:
        return self._thread is not None

    def start(self, name: str, then: Callable[[str], str], shown: str = "") -> str:
        """Begin, and call ``then`` with the name when it is here; it returns a problem. What is wrong, in one line.

        ``shown`` is the name for people.
        """
        with self._lock:
            if self._thread is not None:
                return f"{self._shown} is still being downloaded. Wait for it, or press Cancel Download first."
            self._name, self._shown, self.progress = name, shown or name, None
            self.line = f"Downloading {self._shown}: asking for its size …"
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(then,), name="zwaif-fallback-download", daemon=True)
            self._thread.start()
        return ""

    def cancel(self) -> str:
        """End it at the next piece; what came is kept for the next attempt."""
        if self._thread is None:
            return "Nothing is being downloaded."
        self._stop.set()
        return f"The download of {self._shown} is being stopped. What came so far is kept."

    def wait(self, timeout: float | None = None) -> bool:
        """Until nothing is being downloaded; False when it took longer than ``timeout`` seconds."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)
        return not self.active

    def _run(self, then: Callable[[str], str]) -> None:
        name = self._name
        try:
            self._download(name, log.say, report=self._report, stop=self._stop.is_set)
            problem = then(name)
            ended, self.failed = problem or f"Downloaded: {self._shown}.", bool(problem)
        except FallbackError as error:
            ended, self.failed = str(error), True
        except Exception as error:  # this thread has no caller who could say it
            ended = f"{self._shown} was not downloaded: {type(error).__name__}: {error}"
            self.failed = True
            log.report(ended, error)
        self.line, self.progress = ended, None
        self._thread = None

    def _report(self, progress: Progress) -> None:
        self.progress = progress
        self.line = f"Downloading {self._shown}: {progress.line}"
