"""Work that several may wait for and that none of them does: it goes on when they leave."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Generic, TypeVar

from zwaif_fallback.errors import EngineError
from zwaif_hooks.background.thread_cache import begun
from zwaif_hooks.stream import CancelScope

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """``work`` is done in a thread of ours whenever somebody asks for its result and it is not under way."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._going: Future[T] | None = None

    def result(self, scope: CancelScope) -> T:
        """What the work returns.

        Raises:
            EngineError: the reply that waits for it was given up.
            BaseException: whatever the work raises.
        """
        with self._lock:
            if self._going is None or self._going.done():
                self._going = begun(self._work)
            going = self._going
        over = threading.Event()
        going.add_done_callback(lambda _: over.set())
        scope.on_cancel(over.set)
        over.wait()
        if not going.done():
            raise EngineError("The reply was cancelled.")
        return going.result()
