"""Tells the plugins each sentence that Z-Waif gets (hook ``sentence_spoken``).

The reply's own thread does next to nothing for that: a background thread looks at what was said, every 50 ms. A
sentence ends with the space after its stop mark. Pieces that are whole sentences have none until the next one comes, so
there the silence after the stop mark counts.
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
_STOP_MARK = re.compile(r"[.!?\u2026][\"'\u201d\u2019\u00bb)\]*_]*$")
"""A stop mark is the last that was said."""
_DOUBTFUL = re.compile(r"(?:\d|\b[^\W\d_])\.$")
"""A full stop that may be none: "3." may become "3.5", and "e." "e.g."."""
QUIET_SECONDS = 0.2
"""After a stop mark, silence for this long ends the sentence; for twice the longest pause within a sentence of this
reply if that is longer, because a slow model may pause before each token."""
DOUBTFUL_SECONDS = 1.0
"""The same after a doubtful full stop."""


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
        self._came = self._longest_pause = 0.0
        """When the newest text was seen, by the clock; the longest pause within a sentence, in seconds."""
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
        if fresh or self._pieces:
            self._note_pause()
        self._take(fresh, BY_PRIMARY)
        while self._pieces:
            self._take(*self._pieces.popleft())
        if self._rest and (over or self._is_ended_by_silence()):
            rest, self._rest = self._rest, ""
            self._tell(rest)

    def _note_pause(self) -> None:
        now = self._runtime.clock.now()
        if self._rest.strip() and not _STOP_MARK.search(self._rest):
            self._longest_pause = max(self._longest_pause, now - self._came)
        self._came = now

    def _is_ended_by_silence(self) -> bool:
        if not _STOP_MARK.search(self._rest):
            return False
        least = DOUBTFUL_SECONDS if _DOUBTFUL.search(self._rest) else QUIET_SECONDS
        return self._runtime.clock.now() - self._came >= max(least, 2 * self._longest_pause)

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
