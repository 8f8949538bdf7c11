"""What a reply is worth: whether it holds the fact, who speaks in it, and how it ends."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from benchmarks.fidelity.cards import Card

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SENTENCE = re.compile(r"[^.!?…\n]+")
_CALLED = re.compile(
    r"(?:\b[Mm]y name(?: is|'s|’s)|\b[Ii](?: am|'m|’m) called|\b[Cc]all me|\b[Ii]ch heiße|\b[Mm]ein Name ist|"
    r"\b[Mm]e llamo|\b[Mm]i nombre es|\b[Ii](?: am|'m|’m)(?=[\s\w]*[,.!?])|\b[Ss]oy(?=[\s\w]*[,.!?]))\s+[\"*]*"
    r"((?:Captain |Mr\.? |Ms\.? |Dr\.? )?[A-ZÄÖÜÁÉÍ][\w'’-]+)"
)
_MACHINE = re.compile(r"\b(?:language model|AI assistant|as an AI|an AI\b|SmolLM|chatbot|KI-Assistent)", re.IGNORECASE)
_WRITTEN_ON = re.compile(
    r"^\W*(?:user|assistant|human|system|ai|q|a|question|answer)\s*:", re.IGNORECASE | re.MULTILINE
)
_GOOD_END = re.compile(r"[.!?…~。！？♪]$|[\U0001F300-\U0001FAFF\u2600-\u27BF]\uFE0F?$|[:;][)DpP(]$")
_COMMON = {
    "en": "the a an i you is are am to of and in it my your that for with me not have was this be do as on",
    "de": "der die das ich du ist bin und ein eine nicht mein meine dein mit zu es auf sie wir den im hat habe von",
    "es": "el la los las yo tú es soy y un una no mi tu con de en que me te por para se su del al está",
}
_OF = {language: frozenset(words.split()) for language, words in _COMMON.items()}
LOOP = 4
"""Words in a row that three times in one reply make a loop."""


@dataclass(frozen=True)
class Verdict:
    """One reply, judged."""

    holds: bool
    wrong_name: bool
    loop: bool
    ends_well: bool
    words: int
    speaks_language: bool


def judged(card: Card, pattern: str, reply: str) -> Verdict:
    return Verdict(
        holds=re.search(pattern, reply, re.IGNORECASE) is not None,
        wrong_name=is_another(card, reply),
        loop=loops(reply),
        ends_well=ends_well(reply),
        words=len(words(reply)),
        speaks_language=language(reply) in ("", card.language),
    )


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def is_another(card: Card, reply: str) -> bool:
    """She gives herself another name, is a machine, or writes on the turns of others."""
    if _MACHINE.search(reply) or _WRITTEN_ON.search(reply):
        return True
    if re.search(rf"^\W*{re.escape(card.user)}\s*:", reply, re.MULTILINE):
        return True
    known = {word.casefold() for word in words(f"{card.name} {card.text}")} - {card.user.casefold()}
    said = (name for found in _CALLED.findall(reply) for name in words(found))
    return any(name.casefold() not in known for name in said)


def loops(reply: str) -> bool:
    """A sentence said twice, or the same few words again and again."""
    sentences = [
        " ".join(said) for said in (words(part.casefold()) for part in _SENTENCE.findall(reply)) if len(said) > 2
    ]
    if len(sentences) != len(set(sentences)):
        return True
    said = [part for word in words(reply.casefold()) for part in word.split("-")]
    runs = Counter(tuple(said[place : place + LOOP]) for place in range(len(said) - LOOP + 1))
    return max(runs.values(), default=0) >= 3


def ends_well(reply: str) -> bool:
    """At the end of a sentence or of an action, not where tokens ran out."""
    text = reply.strip()
    if text.endswith("*"):
        return text.count("*") % 2 == 0
    return bool(_GOOD_END.search(text.rstrip("\"'”“»)] ")))


def language(text: str) -> str:
    """By its small words; empty where too few of them tell."""
    said = Counter(words(text.casefold()))
    found = {name: sum(said[word] for word in common) for name, common in _OF.items()}
    best = max(found, key=lambda name: found[name])
    return best if found[best] >= 2 and sorted(found.values())[-2] < found[best] else ""
