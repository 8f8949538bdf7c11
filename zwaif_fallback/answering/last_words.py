"""What the companion says when nothing can answer: short lines in character, so every turn gets a reply."""

from __future__ import annotations

import itertools
import random
import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from zwaif_fallback.answering.pieces import Counted
from zwaif_hooks.messages import ChatRequest, Purpose
from zwaif_hooks.storage import bounded
from zwaif_hooks.stream import CancelScope

LAST_WORDS = "last words"
"""The name of this tier in records."""
APART = 20
"""The same line is not said again within this many, because Z-Waif compares a reply with its last 20."""
_ENDING_MARKS = ("…", "—", "...")
_WAITING_MARKS = ("…", "...")
_SENTENCE_ENDS = tuple(".!?…\"'”’)*~。!?」")

# A summary goes into the companion's memory, so it must claim nothing. If two are alike, Z-Waif asks again for ever.
_SUMMARY_STARTS = (
    "The two of them talked for a while",
    "They kept each other company",
    "They had a chat",
    "Some time passed in conversation",
    "They spent a while together",
)
_SUMMARY_ENDS = (
    "the details were not written down.",
    "nobody took notes this time.",
    "this part was not recorded.",
    "what exactly was said is not noted here.",
    "no notes were kept of it.",
)


class Lines(NamedTuple):
    """The content of a file of last words."""

    whole: list[str]
    """Whole replies."""
    endings: list[str]
    """Endings for a sentence that broke off."""
    meanwhile: list[str]
    """Lines to say while an answer is being prepared."""


class LastWords:
    """Chooses lines. Thread-safe.

    Args:
        own_file: returns the path of the user's own file, empty for the built-in lines; asked each time, so a change
            takes effect at once. UTF-8, one line each, ``#`` comments, endings marked as in the built-in file.
    """

    def __init__(
        self, own_file: Callable[[], str] = str, say: Callable[[str], None] = print, seed: int | None = None
    ) -> None:
        self._own_file = own_file
        self._say = say
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._recent: deque[str] = deque(maxlen=APART - 1)
        self._complained: set[str] = set()

    def line(self, purpose: Purpose = Purpose.CHAT, avoid: Collection[str] = ()) -> str:
        """Return a whole reply that was not given recently and, if possible, is not in ``avoid``."""
        if purpose is Purpose.SUMMARY:
            return self._pick([f"{a}; {b}" for a, b in itertools.product(_SUMMARY_STARTS, _SUMMARY_ENDS)], avoid)
        return self._pick(self._lines().whole, avoid)

    def meanwhile(self) -> str:
        """Return a line to say while the answer is being prepared."""
        return self._pick(self._lines().meanwhile, ())

    def ending(self, begun: str) -> str:
        """Return what to say after ``begun``, the text that was delivered before everything failed."""
        lines = self._lines()
        if begun.rstrip().endswith(_SENTENCE_ENDS):
            return ("" if begun[-1].isspace() else " ") + self._pick(lines.whole, ())
        ending = self._pick(lines.endings, ())
        return (" " if ending.startswith("—") and not begun[-1:].isspace() else "") + ending

    def _pick(self, lines: Sequence[str], avoid: Collection[str]) -> str:
        with self._lock:
            fresh = [line for line in lines if line not in self._recent]
            best = [line for line in fresh if line not in avoid] or fresh
            # In a file with few lines, the one that was said longest ago.
            picked = self._random.choice(best) if best else min(lines, key=list(self._recent).index)
            if picked in self._recent:
                self._recent.remove(picked)
            self._recent.append(picked)
            return picked

    def _lines(self) -> Lines:
        own = self._own() if self._own_file().strip() else Lines([], [], [])
        built_in = parse(built_in_text())
        return Lines(*(mine or theirs for mine, theirs in zip(own, built_in, strict=True)))

    def _own(self) -> Lines:
        path = Path(self._own_file().strip()).expanduser()
        try:
            lines = parse(bounded.read_text(path))
        except (OSError, ValueError) as error:
            self._complain(path, str(getattr(error, "strerror", None) or "it is not UTF-8 text"))
            return Lines([], [], [])
        if not lines.whole:
            self._complain(path, "it holds no lines")
            return Lines([], [], [])
        return lines

    def _complain(self, path: Path, why: str) -> None:
        with self._lock:
            if str(path) in self._complained:
                return
            self._complained.add(str(path))
        self._say(f"API_FALLBACK_LAST_WORDS: {path} cannot be used ({why}); using the built-in lines.")


class LastWordsTier:
    """Says one short line; never fails."""

    def __init__(self, words: LastWords) -> None:
        self._words = words

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        if begun.strip():
            return LAST_WORDS, Counted(iter([self._words.ending(begun)]))
        return LAST_WORDS, Counted(iter([self._words.line(request.purpose, request.recent_replies)]))


def parse(text: str) -> Lines:
    """Return the lines of a file. Lines that Z-Waif would take for a blank reply are left out."""
    lines = [line.strip() for line in text.splitlines()]
    kept = [line for line in dict.fromkeys(lines) if len(line) >= 3 and not line.startswith("#")]
    endings = [line for line in kept if line.startswith(_ENDING_MARKS)]
    meanwhile = [line for line in kept if line.endswith(_WAITING_MARKS) and line not in endings]
    return Lines([line for line in kept if line not in (*endings, *meanwhile)], endings, meanwhile)


def built_in_text() -> str:
    """Return the text of the file in the package."""
    return resources.files("zwaif_fallback.answering").joinpath("last_words.txt").read_text(encoding="utf-8")
