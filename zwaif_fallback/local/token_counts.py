"""Token counts of texts, remembered: a prompt is fitted with mostly the same messages as the one before."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence

CAPACITY = 2048
"""Texts whose count is kept: a few conversations' worth of messages."""


class TokenCounts:
    """Asks ``count`` only for texts that are not known; thread-safe."""

    def __init__(self, count: Callable[[Sequence[str]], Sequence[int]]) -> None:
        self._count = count
        self._known: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, texts: Sequence[str]) -> list[int]:
        with self._lock:
            known = {text: self._known[text] for text in texts if text in self._known}
            for text in known:
                self._known.move_to_end(text)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            known.update(zip(missing, self._count(missing), strict=True))
            self._keep(known)
        return [known[text] for text in texts]

    def clear(self) -> None:
        """Another model is loaded."""
        with self._lock:
            self._known.clear()

    def _keep(self, counts: dict[str, int]) -> None:
        with self._lock:
            self._known.update(counts)
            while len(self._known) > CAPACITY:
                self._known.popitem(last=False)
