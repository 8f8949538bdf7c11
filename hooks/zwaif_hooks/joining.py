"""The seam: where one speaker's half reply and the next speaker's continuation become one text.

Z-Waif speaks sentences as they arrive, so nothing delivered can be taken back: all that can be done is to leave out
what the continuation says again and to put in the one space it may need.
"""

from __future__ import annotations

MIN_OVERLAP = 4
"""Shorter coincidences ("the", a doubled letter) are far more often part of a clean continuation than an overlap."""
MAX_OVERLAP = 200


class Joiner:
    """Lets a continuation through without what was ``delivered`` already.

    ``exact`` says that the speaker was given the delivered text as the beginning of its own turn and goes on from its
    last character (a local model): then only a full echo is taken out, and nothing is guessed.
    """

    def __init__(self, delivered: str, exact: bool = False) -> None:
        self._delivered = delivered
        self._exact = exact
        self._held = ""
        self._decided = not delivered

    def feed(self, piece: str) -> str:
        """Text that can be passed on now; the beginning is held back until it is known not to be a repetition."""
        if self._decided:
            return piece
        self._held += piece
        if self._may_still_repeat():
            return ""
        return self._decide()

    def finish(self) -> str:
        """What was still held back when the continuation ended."""
        return "" if self._decided else self._decide()

    def _may_still_repeat(self) -> bool:
        held = self._held.lstrip()
        if not held:
            return True
        if self._delivered.lstrip().startswith(held):
            return True
        if self._exact:
            return False
        tail = self._delivered[-MAX_OVERLAP:]
        return any(tail[start:].startswith(held) for start in range(len(tail)))

    def _decide(self) -> str:
        self._decided = True
        held, self._held = self._held, ""
        text = held.lstrip()
        whole = self._delivered.lstrip()
        if text.startswith(whole):
            return text[len(whole) :]
        if self._exact:
            return held
        overlap = longest_overlap(self._delivered, text)
        if overlap:
            return text[overlap:]
        return self._with_one_space(held)

    def _with_one_space(self, held: str) -> str:
        if self._delivered[-1:].isspace():
            return held.lstrip(" ")
        if held[:1].isalnum() and self._delivered[-1:] in ".!?,;:":
            return " " + held
        return held


def longest_overlap(delivered: str, text: str) -> int:
    """Characters at the end of ``delivered`` that ``text`` begins with, at least MIN_OVERLAP, else 0."""
    for size in range(min(MAX_OVERLAP, len(delivered), len(text)), MIN_OVERLAP - 1, -1):
        if delivered.endswith(text[:size]):
            return size
    return 0


class SurrogateGate:
    """Makes characters whole again that a server cut in two JSON escapes (half an emoji each)."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        if not self._half and (text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)):
            return text
        text = self._half + text
        self._half = ""
        if "\ud800" <= text[-1:] <= "\udbff":
            self._half, text = text[-1], text[:-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")
