"""A download started on the page: it runs in its own thread, all windows show it, and a button stops it."""

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
    """The current download, and the result of the last one. Only one runs at a time."""

    def __init__(self, download: Download) -> None:
        self._download = download
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._name = self._shown = ""
        self.progress: Progress | None = None
        self.failed = False
        """Whether the last download ended without a usable model."""
        self.line = ""
        """Progress of the download, or how the last one ended."""

    @property
    def active(self) -> bool:
        return self._thread is not None

    def start(self, name: str, then: Callable[[str], str], shown: str = "") -> str:
        """Start a download. Return the problem in one line, or an empty string.

        Args:
            name: The model.
            then: Called with the name after the download; returns a problem or an empty string.
            shown: The name for people.
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
        """Stop at the next piece. What has been downloaded is kept for the next attempt."""
        if self._thread is None:
            return "No download is running."
        self._stop.set()
        return f"Stopping the download of {self._shown}. What has been downloaded is kept."

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the download. Return False after ``timeout`` seconds."""
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
        except Exception as error:  # nobody else would report it: this is a thread's outermost function
            ended = f"{self._shown} was not downloaded: {type(error).__name__}: {error}"
            self.failed = True
            log.report(ended, error)
        self.line, self.progress = ended, None
        self._thread = None

    def _report(self, progress: Progress) -> None:
        self.progress = progress
        self.line = f"Downloading {self._shown}: {progress.line}"
