"""The languages a companion may be spoken to in: how to recognise each, its function words, its line for the length.

All of it is data in ``languages.json``; a new language is a new entry. A language whose letters another one also uses
comes after that one (Chinese after Japanese).
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
    """The line that asks for a reply of a certain length; ``{}`` is the length."""
    lengths: tuple[str, ...]
    """Lengths, from a few words to a few sentences."""
    letters: str = ""
    """Letters that identify the language, as in the brackets of a regular expression."""
    common: frozenset[str] = frozenset()
    """Frequent words that distinguish it from similar languages."""
    small: frozenset[str] = frozenset()
    """Function words, which say nothing about the topic of a question."""
    kin: tuple[tuple[str, ...], ...] = ()
    """Groups of words with the same meaning; ``#`` is a small number."""
    asks: re.Pattern[str] = _NEVER
    """Question words: anywhere in a question they ask for more than yes or no."""
    begins: re.Pattern[str] = _NEVER
    """How a question begins, as some users leave out the question mark."""


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
    if not asks_yes_or_no:  # no spaces between words, and users always write the question mark
        return re.compile("|".join(asks)), _NEVER
    words, begins = "|".join(asks), "|".join([*asks, *asks_yes_or_no])
    return (
        re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE),
        re.compile(rf"{_LEAD}(?:{begins})(?!\w)", re.IGNORECASE),
    )


LANGUAGES = _load()
_LETTERS = [(name, re.compile(f"[{one.letters}]")) for name, one in LANGUAGES.items() if one.letters]


def language_of(text: str) -> str:
    """Return a key of :data:`LANGUAGES`; empty if the text is in another language or too short to tell."""
    for name, letters in _LETTERS:
        if letters.search(text):
            return name
    said = Counter(_WORD.findall(text.casefold()))
    found = sorted(((sum(said[word] for word in one.common), name) for name, one in LANGUAGES.items()), reverse=True)
    (most, name), (second, _) = found[:2]
    return name if most > second else ""
