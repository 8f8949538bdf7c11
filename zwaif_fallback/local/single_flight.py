"""Work that runs once for all who wait for it, and continues when they stop waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from zwaif_fallback.errors import EngineError
from zwaif_hooks.background.thread_cache import in_background
from zwaif_hooks.stream import CancelScope

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Starts ``work`` in the background when its result is asked for, unless it is running already."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._going: Future[T] | None = None

    def result(self, scope: CancelScope) -> T:
        """Wait for the work and return its result.

        Raises:
            EngineError: ``scope`` was cancelled; the work continues.
            BaseException: whatever the work raises.
        """
        with self._lock:
            if self._going is None or self._going.done():
                self._going = in_background(self._work)
            going = self._going
        over = threading.Event()
        going.add_done_callback(lambda _: over.set())
        scope.on_cancel(over.set)
        over.wait()
        if not going.done():
            raise EngineError("The reply was cancelled.")
        return going.result()
