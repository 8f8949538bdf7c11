"""Read a model's weights into the system's file cache while Python imports what loading them takes."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from zwaif_fallback.hardware import ram_free
from zwaif_fallback.models.safetensors_facts import WEIGHT_FILES
from zwaif_hooks.storage.bounded import open_plain

logger = logging.getLogger(__name__)


AT_ONCE = 1 << 30
"""Bytes of one call; the system refuses more than fit behind the offset in 63 bits."""


def read_into_cache(file: Path) -> None:
    """Have the system read a whole file into its cache.

    Linux only: there it needs no copy and not Python's lock. Reading into a buffer took longer than it saved
    (``docs/performance.md``).

    Raises:
        OSError: the file cannot be read, or is no plain file.
    """
    if sys.platform == "linux":
        with open_plain(file, buffering=0) as source, Path(os.devnull).open("wb", buffering=0) as nowhere:
            done = 0
            while sent := os.sendfile(nowhere.fileno(), source.fileno(), done, AT_ONCE):
                done += sent


def read_beside(folder: Path, read: Callable[[Path], None] = read_into_cache) -> threading.Thread:
    """Start a thread that reads the weights in ``folder``, one file after the other, and return it. Nobody has to wait
    for it: a load that gets ahead of it reads by itself, and meets whatever is wrong with a file."""
    thread = threading.Thread(target=_read_all, args=(folder, read), name="zwaif-read-weights", daemon=True)
    thread.start()
    return thread


def _read_all(folder: Path, read: Callable[[Path], None]) -> None:
    try:
        files = sorted(folder.glob(WEIGHT_FILES))
        if sum(file.stat().st_size for file in files) > ram_free():  # the first would be gone before it is used
            return
        for file in files:
            read(file)
    except OSError as error:  # the load meets it, too, and tells the user
        logger.debug("The weights in %s were not read beforehand: %s", folder, error)
