"""Finds the sentences of a character card that the user's message asks about.

A small model forgets a card far above and finds what is next to the question, so these sentences are repeated there.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from zwaif_fallback.languages import LANGUAGES, Language, language_of

SENTENCES_REPEATED = 2
"""Maximum sentences repeated."""
MOST_WORDS = 40
"""Maximum words of a sentence that is repeated."""
LEAST_SCORE = 0.35
"""Minimum score of a sentence, as a share of the weight of a word that occurs in one sentence only."""
SHORT_QUESTION = 7
"""Words. A question this short that matches no sentence probably asks who the companion is."""
QUESTION_CHARS = 300
"""Characters at the end of the user's message that are looked at: questions come last."""
_OF_KIN = 0.5
"""The weight of a synonym, relative to the word itself."""
_WORD = re.compile(r"[^\W_]+")
_CUT = re.compile(r"(?<=[.!?…。！？])[\"”»*)]*\s+|\n+|(?<=\))\s*(?=\w+\()|(?<=[。！？])")
_OF_THE_USER = re.compile(r"\s*(?:\{\{user\}\}|<USER>)\s*:", re.IGNORECASE)
_OF_HERS = re.compile(r"\s*(?:\{\{char\}\}|<BOT>)\s*:", re.IGNORECASE)
_ACTION = re.compile(r"\*[^*]+\*\s*")
_LABEL = re.compile(r"^[\s#>*•+-]*(?:(?:\{\{char\}\}|<BOT>)\s*:)?[\s\"*]*", re.IGNORECASE)
_SMALL = frozenset[str]().union(*(language.small for language in LANGUAGES.values()))
_KIN = [kind for language in LANGUAGES.values() for kind in language.kin]
_TRAIT = re.compile(r"(\w[\w ]*)\(\s*\"(.*)\"\s*\)")
_PLUS = re.compile(r"\"\s*\+\s*\"")
_NOT_LIKED = re.compile(r"\b(?:do|does) not like\b|\b(?:do|does)n['’]t like\b")
_A_NUMBER = "#"
"""Replaces every small number: ages are written as numbers."""


def asked_about(card: str, words: str) -> list[str]:
    """Return the sentences that ``words`` ask about, in the card's order; for other short questions, the first one."""
    told = _told_of(card, words)
    if not told and is_question(words) and len(_WORD.findall(words)) <= SHORT_QUESTION:
        return _read(card)[0][:1]
    return told


def answers_to(card: str, words: str, names: str = "") -> tuple[str, ...]:
    """Return words, one of which the answer will contain; empty if the card has none or "yes" would be an answer.

    ``names``: see :func:`answering`.
    """
    return answering(_told_of(card, words), words, names) if _asks_for_a_word(words) else ()


def _told_of(card: str, words: str) -> list[str]:
    sentences, found_by = _read(card)
    newest = words[-QUESTION_CHARS:]
    asked, kin = _content(newest), _kin(newest)
    rare = math.log(1 + len(sentences))
    known = frozenset[str]().union(*found_by)
    forms = {stem: {word for word in known if _alike(stem, word)} for stem in asked | kin}
    holding = {stem: sum(not found.isdisjoint(forms[stem]) for found in found_by) for stem in forms}
    weights = {stem: math.log(1 + len(sentences) / max(1, count)) for stem, count in holding.items()}
    scores = [
        sum(weights[stem] for stem in asked if not found.isdisjoint(forms[stem]))
        + _OF_KIN * max((weights[stem] for stem in kin - asked if not found.isdisjoint(forms[stem])), default=0.0)
        for found in found_by
    ]
    best = sorted(range(len(scores)), key=lambda place: -scores[place])[:SENTENCES_REPEATED]
    told = [place for place in best if scores[place] >= max(LEAST_SCORE * rare, 0.6 * scores[best[0]])]
    return [sentences[place] for place in sorted(told)]


def is_question(words: str) -> bool:
    """Whether it has a question mark or begins like a question; in chats the mark is often left out."""
    return words.rstrip().endswith(("?", "？")) or any(one.begins.match(words) for one in _languages(words))


def _asks_for_a_word(words: str) -> bool:
    return is_question(words) and any(one.asks.search(words) for one in _languages(words))


def _languages(words: str) -> Iterable[Language]:
    """Return the language of ``words``, or all if it is unknown."""
    known = LANGUAGES.get(language_of(words))
    return LANGUAGES.values() if known is None else [known]


def answering(sentences: Sequence[str], words: str, names: str = "") -> tuple[str, ...]:
    """Return words of ``sentences`` that would answer: no function words, none of the question's, no ``names``."""
    known = {word.casefold() for word in _WORD.findall(f"{words} {names} char user")} | _SMALL
    found = (word for sentence in sentences for word in _WORD.findall(sentence) if word.casefold() not in known)
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=8)
def _read(card: str) -> tuple[list[str], list[frozenset[str]]]:
    """Return the card's sentences, and the words by which each is found.

    These are its own words, and those of the question that it answers in an example dialogue.
    """
    sentences: list[str] = []
    found_by: list[frozenset[str]] = []
    question: set[str] = set()
    for line in card.splitlines():
        if _OF_THE_USER.match(line):
            question = _content(line) | _kin(line)
            continue
        if _OF_HERS.match(line):
            line = _ACTION.sub("", line)
        for part in map(_bare, _CUT.split(line)):
            if 2 <= len(_WORD.findall(part)) <= MOST_WORDS:
                sentences.append(part)
                found_by.append(frozenset(_content(part) | question))
    return sentences, found_by


def _bare(part: str) -> str:
    """Remove labels and markup; write a W++ trait such as ``Eyes("Amber" + "Large")`` as ``Eyes: Amber, Large.``"""
    text = _LABEL.sub("", part).strip()
    trait = _TRAIT.fullmatch(text)
    return f"{trait[1]}: {_PLUS.sub(', ', trait[2])}." if trait else text


def _content(text: str) -> set[str]:
    words = _WORD.findall(_NOT_LIKED.sub("dislike", text.casefold()))
    return {_A_NUMBER if word.isdigit() and len(word) < 4 else _stem(word) for word in words if word not in _SMALL}


def _stem(word: str) -> str:
    """Cut off English plural and verb endings. Other languages are matched by how words begin (:func:`_alike`)."""
    for ending in ("ing", "ies", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def _kin(words: str) -> set[str]:
    said = set(_WORD.findall(words.casefold()))
    return {_stem(word) for kind in _KIN if not said.isdisjoint(kind) for word in kind if word not in _SMALL}


def _alike(one: str, other: str) -> bool:
    """Whether two words are equal or forms of one word: same beginning, short difference at the end."""
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    return (
        len(shorter) >= 4 and longer.startswith(shorter[: max(4, len(shorter) - 1)]) and len(longer) - len(shorter) <= 3
    )
