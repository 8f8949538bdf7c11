"""Detects loops: a small model may say the same thing over and over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

LOOKED_AT = 360
"""Characters at the end of a text that are searched for a loop."""
_LONGEST_TURN = 120
_LEAST_AGAIN = 3
"""Characters that must repeat at the end for a loop."""
_WORD = re.compile(r"\w+")
_FEW_WORDS = 2
"""Sentences up to this many words, such as ``No! No! No!``, may be repeated on purpose ..."""
_MOST_OF_FEW = 3
"""... this many times."""
_A_RUN = 4
"""Words."""


def first_turn(text: str) -> str | None:
    """Return ``text`` up to the end of the first round of the loop at its end; None without a loop."""
    tail = text.casefold()[-LOOKED_AT:]
    end = tail[-_LEAST_AGAIN:]
    place = tail.rfind(end, 0, -1) if end else -1
    while place >= 0:
        period = len(tail) - len(end) - place
        if period > _LONGEST_TURN:
            return None
        turn = tail[len(tail) - period :]
        turns = 1
        while tail.endswith(turn, 0, len(tail) - turns * period):
            turns += 1
        if turns >= _turns_of_a_loop(period, turn):
            return text[: len(text) - (turns - 1) * period]
        place = tail.rfind(end, 0, place + len(end) - 1)
    return None


def _turns_of_a_loop(period: int, turn: str) -> int:
    """Return how many rounds make a loop. Laughter, shouts and refrains repeat too, the shorter the more often."""
    if not any(map(str.isalnum, turn)):
        return 60
    if period == 1:
        return 30
    if period <= 4:
        return max(6, 40 // period)
    if period < 12:
        return 4
    return 3 if period < 30 or "\n" in turn else 2


def is_said_again(sentence: str, said: Sequence[str]) -> bool:
    """Whether ``sentence`` was ``said`` before in the same reply (sentences as from :func:`as_words`)."""
    words = as_words(sentence)
    length = len(words.split())
    if not length:
        return False
    if length <= _FEW_WORDS and len(words) < 12:
        return list(said[-_MOST_OF_FEW:]) == [words] * _MOST_OF_FEW
    return words in said


def is_a_pattern(sentence: str, said: Sequence[str]) -> bool:
    """Whether the same few words occur for the third time: I like to sing, I like to sleep, ..."""
    words = " ".join([*said, as_words(sentence)]).split()
    runs = Counter(tuple(words[place : place + _A_RUN]) for place in range(len(words) - _A_RUN + 1))
    return max(runs.values(), default=0) > 2


def as_words(sentence: str) -> str:
    """Return a sentence in lower case and without punctuation, for comparison."""
    return " ".join(_WORD.findall(sentence.casefold()))
