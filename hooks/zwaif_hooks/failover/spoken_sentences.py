"""Tells the plugins each sentence that Z-Waif gets (hook ``sentence_spoken``).

The reply's own thread does next to nothing for that: a background thread looks at what was said, every 50 ms.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.turn_log import BY_PRIMARY

if TYPE_CHECKING:
    from zwaif_hooks.runtime import Runtime

_END = re.compile(r"(?<=[.!?\u2026])[\"'\u201d\u2019\u00bb)\]*_]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")
"""The end of a sentence: a stop mark and a space, a full stop of a script without spaces, or the end of a line."""


class SpokenSentences:
    """The sentences of one turn. ``begin``, ``heard`` and ``end`` take about a microsecond."""

    def __init__(self, runtime: Runtime, describe: Callable[[], ChatRequest], delivered: Callable[[], str]) -> None:
        """``delivered``: returns what the primary has said so far."""
        self._runtime = runtime
        self._describe = describe
        self._delivered = delivered
        self._seen = 0
        self._pieces: deque[tuple[str, str]] = deque()
        self._rest, self._by = "", BY_PRIMARY
        self._request: ChatRequest | None = None
        self._over = False

    def begin(self) -> None:
        deferred.follow(self.look)

    def heard(self, text: str, by: str) -> None:
        """Z-Waif got ``text``, which is not the primary's."""
        self._pieces.append((text, by))

    def end(self) -> None:
        """Z-Waif gets no more."""
        self._over = True

    def look(self) -> bool:
        """Tell what is new. Return whether more may follow. Called in the thread of ``deferred`` only."""
        over = self._over
        try:
            self._tell_what_is_new(over)
        except Exception as error:
            self._runtime.report("The plugins cannot be told what is said", error)
            return False
        return not over

    def _tell_what_is_new(self, over: bool) -> None:
        delivered = self._delivered()
        fresh, self._seen = delivered[self._seen :], len(delivered)
        self._take(fresh, BY_PRIMARY)
        while self._pieces:
            self._take(*self._pieces.popleft())
        if over and self._rest:
            rest, self._rest = self._rest, ""
            self._tell(rest)

    def _take(self, text: str, by: str) -> None:
        if not text:
            return
        self._rest += text
        self._by = by
        while (end := _END.search(self._rest)) is not None:
            sentence, self._rest = self._rest[: end.end()], self._rest[end.end() :]
            self._tell(sentence)

    def _tell(self, sentence: str) -> None:
        if not sentence.strip():
            return
        if self._request is None:
            self._request = self._describe()
        self._runtime.plugins.hook.sentence_spoken(text=sentence.strip(), by=self._by, request=self._request)
