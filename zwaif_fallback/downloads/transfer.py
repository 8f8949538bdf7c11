"""Download one file over HTTP: resumable, with progress, stoppable, and verified by its hash."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from zwaif_fallback.errors import FallbackError
from zwaif_hooks.storage import files

CHUNK = 64 * 1024
"""Bytes; at most this much is lost when a connection breaks."""
TRIES = 5
"""Attempts in a row without progress before giving up."""
TIMEOUT = (10.0, 30.0)
"""Seconds to connect, and seconds without a byte."""
REPORT_SECONDS = 0.5
_SHA256, _SHA1 = re.compile(r"[0-9a-f]{64}"), re.compile(r"[0-9a-f]{40}")

Report = Callable[["Progress"], None]
Stop = Callable[[], bool]


class DownloadFailed(FallbackError):
    """``str(error)`` is one line with the next step."""


class DownloadStopped(DownloadFailed):
    """The user stopped it; what was downloaded is kept."""

    def __init__(self) -> None:
        super().__init__("Stopped. What was downloaded is kept; the same download continues from there.")


@dataclass(frozen=True)
class Progress:
    """Progress of a download; bytes and seconds."""

    file: str
    done: int
    total: int
    rate: float = 0.0
    """Bytes per second since it started."""

    @property
    def share(self) -> float:
        return min(1.0, self.done / self.total) if self.total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """None if it cannot be estimated yet."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None

    @property
    def line(self) -> str:
        """``0.42 of 2.02 GB (21 %), 3 min left``."""
        left = self.seconds_left
        return f"{sizes(self.done, self.total)} ({self.share:.0%}){'' if left is None else f', {duration(left)} left'}"


class Meter:
    """Add up the files of one download and report progress regularly.

    Args:
        total: bytes of all files.
        report: called about every ``every`` seconds.
    """

    def __init__(
        self, total: int, report: Report, now: Callable[[], float] = time.monotonic, every: float = REPORT_SECONDS
    ) -> None:
        self._total, self._report, self._now, self._every = total, report, now, every
        self._begun, self._last = now(), float("-inf")
        self._came = 0
        self._before = 0
        self._file = ""

    def start(self, file: str, here: int) -> None:
        """Begin the next file, of which ``here`` bytes were downloaded earlier."""
        self._file = file
        self._before += here
        self._tell()

    def add(self, count: int) -> None:
        self._came += count
        if self._now() - self._last >= self._every:
            self._tell()

    def lose(self, count: int) -> None:
        """Take back bytes that must be downloaded again."""
        self._before -= count

    def finish(self) -> None:
        self._tell()

    def _tell(self) -> None:
        self._last = self._now()
        elapsed = self._last - self._begun
        rate = self._came / elapsed if elapsed > 0 else 0.0
        self._report(Progress(self._file, self._before + self._came, self._total, rate))


@dataclass(frozen=True)
class RemoteFile:
    """One file as the server announces it."""

    name: str
    url: str
    size: int
    etag: str
    """SHA-256 of the content for large files, git's SHA-1 for small ones."""


def transfer(
    remote: RemoteFile,
    part: Path,
    meter: Meter,
    *,
    session: Any,
    headers: Mapping[str, str],
    stop: Stop = lambda: False,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Download the file to ``part``, resuming after what is there; complete and verified on return.

    Raises:
        DownloadStopped: ``stop`` returned True.
        DownloadFailed: the file is not as announced, or longer; ``part`` is removed.
        Exception: whatever the session raises, after :data:`TRIES` attempts without progress.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    _refuse_odd(remote, part)
    meter.start(remote.name, min(_size(part), remote.size))
    failures = 0
    while (before := _size(part)) < remote.size:
        try:
            _attempt(remote, part, meter, session, headers, stop)
            failures = 0 if _size(part) > before else failures + 1
            if failures >= TRIES:
                raise DownloadFailed(f"{remote.name} keeps ending too soon. Try again later.")
        except _passing_errors():
            failures = 1 if _size(part) > before else failures + 1
            if failures >= TRIES:
                raise
            wait(min(2.0**failures, 30.0))
    if not remote.size:
        _open(part, "wb").close()
    check(remote, part)


def check(remote: RemoteFile, part: Path) -> None:
    """Compare with the announced size and hash; a file without a hash always fails.

    Raises:
        DownloadFailed: they differ. The file is removed, because resuming after wrong bytes would never succeed.
    """
    if part.stat().st_size == remote.size and _hash_is_right(remote, part):
        return
    files.remove(part)
    raise DownloadFailed(
        f"{remote.name} arrived damaged (its checksum is wrong) and was removed. Try again; if it stays so, "
        "something between here and Hugging Face changes what it sends (a proxy, a virus scanner)."
    )


def byte_size(count: int) -> str:
    """Return a number of bytes such as ``2.2 GB`` or ``40.5 MB``."""
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{count / 1e6:.1f} MB"


def sizes(done: int, total: int) -> str:
    """Return ``0.42 of 2.02 GB``, in MB for small files."""
    unit, name, digits = (1e9, "GB", 2) if total >= 1e9 else (1e6, "MB", 0)
    return f"{done / unit:.{digits}f} of {total / unit:.{digits}f} {name}"


def duration(seconds: float) -> str:
    """Return ``40 s``, ``3 min`` or ``1 h 20 min``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def _attempt(
    remote: RemoteFile, part: Path, meter: Meter, session: Any, headers: Mapping[str, str], stop: Stop
) -> None:
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    here = _size(part)
    asked = {**headers, "Accept-Encoding": "identity", **({"Range": f"bytes={here}-"} if here else {})}
    with session.get(remote.url, headers=asked, stream=True, timeout=TIMEOUT) as response:
        hf_raise_for_status(response)
        # Compressed, a few bytes could expand to any size.
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DownloadFailed(
                f"{remote.name} arrived compressed, which was not requested. Check for a proxy that does that, then "
                "try again."
            )
        goes_on = here > 0 and response.status_code == 206
        if here and not goes_on:
            meter.lose(here)
        room = remote.size - (here if goes_on else 0)
        with _open(part, "ab" if goes_on else "wb") as file:
            for chunk in response.iter_content(CHUNK):
                if stop():
                    raise DownloadStopped
                room -= len(chunk)
                if room < 0:
                    break
                file.write(chunk)
                meter.add(len(chunk))
    if room < 0:
        files.remove(part)
        raise DownloadFailed(f"{remote.name} is longer than announced, so it was removed. Try again later.")


def _refuse_odd(remote: RemoteFile, part: Path) -> None:
    """Remove a partial file that is a link, or too long: through a link, another file would be overwritten."""
    try:
        status = part.lstat()
    except OSError:
        return
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or status.st_size > remote.size:
        files.remove(part)


def _open(part: Path, mode: str) -> BinaryIO:
    """Open for writing, without following a link that was created meanwhile."""

    def plain(path: str, flags: int) -> int:
        return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0), 0o666)

    return cast(BinaryIO, open(part, mode, opener=plain))


def _passing_errors() -> tuple[type[Exception], ...]:
    """Return the errors that may pass: network trouble, or a busy server."""
    from requests import exceptions

    return (exceptions.ConnectionError, exceptions.Timeout, exceptions.ChunkedEncodingError)


def has_hash(remote: RemoteFile) -> bool:
    """Return whether the download can be verified."""
    return bool(_SHA256.fullmatch(remote.etag) or _SHA1.fullmatch(remote.etag))


def _hash_is_right(remote: RemoteFile, part: Path) -> bool:
    if _SHA256.fullmatch(remote.etag):
        return _hash(part, hashlib.sha256()) == remote.etag
    if _SHA1.fullmatch(remote.etag):
        # Git's way to hash a file: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
        return _hash(part, hashlib.sha1(b"blob %d\0" % remote.size, usedforsecurity=False)) == remote.etag
    return False


def _hash(part: Path, digest: Any) -> str:
    with part.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return str(digest.hexdigest())


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0
