"""Loops: a small model that has lost its thread says the same over and over."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

LOOKED_AT = 360
"""Characters at the end of a text that a loop is looked for in."""
_LONGEST_TURN = 120
_LEAST_AGAIN = 3
"""Characters: in a loop at least so many at its end were said one turn before."""
_WORD = re.compile(r"\w+")
_FEW_WORDS = 2
"""``No! No! No!`` and ``Yes. Yes.`` are said on purpose ..."""
_MOST_OF_FEW = 3
"""... so often."""
_A_RUN = 4
"""Words."""


def first_turn(text: str) -> str | None:
    """``text`` up to the end of the first turn of the loop that it ends with; None where it ends with none."""
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
    """Laughing, shouting and refrains repeat as well, the shorter the more often."""
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
    """Whether ``sentence`` was among the sentences ``said`` before it in the same reply (as :func:`as_words`)."""
    words = as_words(sentence)
    length = len(words.split())
    if not length:
        return False
    if length <= _FEW_WORDS and len(words) < 12:
        return list(said[-_MOST_OF_FEW:]) == [words] * _MOST_OF_FEW
    return words in said


def is_a_pattern(sentence: str, said: Sequence[str]) -> bool:
    """Whether the same few words come for the third time with ``sentence``: I like to sing, I like to sleep, ..."""
    words = " ".join([*said, as_words(sentence)]).split()
    runs = Counter(tuple(words[place : place + _A_RUN]) for place in range(len(words) - _A_RUN + 1))
    return max(runs.values(), default=0) > 2


def as_words(sentence: str) -> str:
    """What is compared: a sentence without its marks."""
    return " ".join(_WORD.findall(sentence.casefold()))
