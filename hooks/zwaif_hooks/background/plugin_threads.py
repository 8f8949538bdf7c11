"""Knows in which threads a plugin's code runs: its own requests to an LLM server are not guarded there."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_thread = threading.local()


def is_a_plugins_thread() -> bool:
    """Return whether a plugin's code runs in this thread now."""
    return getattr(_thread, "is_in_a_plugin", False)


@contextmanager
def in_a_plugin() -> Iterator[None]:
    """Run a plugin's code."""
    before = is_a_plugins_thread()
    _thread.is_in_a_plugin = True
    try:
        yield
    finally:
        _thread.is_in_a_plugin = before
