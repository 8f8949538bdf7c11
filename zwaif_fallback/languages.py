"""Languages a companion is spoken to in: how each is told, its small words, and how it asks for a short reply.

All of it is data in ``languages.json``; a language more is an entry more. One whose letters another shares comes later
(Chinese after Japanese).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

_WORD = re.compile(r"[^\W\d_]+")
_NEVER = re.compile(r"(?!)")
_LEAD = r"\W*(?:(?:and|so|hey|but|tell me|und|et|y|e|en|i|и),? )?"


@dataclass(frozen=True)
class Language:
    """One entry of ``languages.json``."""

    ask: str
    """The line that asks for a reply of some length; ``{}`` stands for the length."""
    lengths: tuple[str, ...]
    """From a few words to a few sentences."""
    letters: str = ""
    """Those of no other language, as in a regular expression's brackets."""
    common: frozenset[str] = frozenset()
    """Words that tell it from its neighbours."""
    small: frozenset[str] = frozenset()
    """Words that say nothing about what is asked."""
    kin: tuple[tuple[str, ...], ...] = ()
    """Words that ask for the same thing; ``#`` stands for a small number."""
    asks: re.Pattern[str] = _NEVER
    """What asks for more than a yes or a no, anywhere in a question."""
    begins: re.Pattern[str] = _NEVER
    """How a question begins, for those who leave its mark out."""


def _load() -> dict[str, Language]:
    text = resources.files("zwaif_fallback").joinpath("languages.json").read_text(encoding="utf-8")
    return {
        name: Language(
            row["ask"],
            tuple(row["lengths"]),
            row.get("letters", ""),
            frozenset(row.get("common", "").split()),
            frozenset(row.get("small", "").split()),
            tuple(tuple(kind.split()) for kind in row.get("kin", ())),
            *_questions(row["asks"], row.get("asks_yes_or_no", ())),
        )
        for name, row in json.loads(text).items()
    }


def _questions(asks: Sequence[str], asks_yes_or_no: Sequence[str]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    if not asks_yes_or_no:  # no spaces between words, and the mark is never left out
        return re.compile("|".join(asks)), _NEVER
    words, begins = "|".join(asks), "|".join([*asks, *asks_yes_or_no])
    return (
        re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE),
        re.compile(rf"{_LEAD}(?:{begins})(?!\w)", re.IGNORECASE),
    )


LANGUAGES = _load()
_LETTERS = [(name, re.compile(f"[{one.letters}]")) for name, one in LANGUAGES.items() if one.letters]


def language_of(text: str) -> str:
    """A key of :data:`LANGUAGES`; empty where it is another one, or too short to tell."""
    for name, letters in _LETTERS:
        if letters.search(text):
            return name
    said = Counter(_WORD.findall(text.casefold()))
    found = sorted(((sum(said[word] for word in one.common), name) for name, one in LANGUAGES.items()), reverse=True)
    (most, name), (second, _) = found[:2]
    return name if most > second else ""
