"""What to expect of a reply before it is generated: its length, its speaker, what it must not repeat."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from zwaif_fallback.prompt.card_lookup import answers_to
from zwaif_fallback.prompt.changing_notes import separate_notes
from zwaif_fallback.prompt.usual_length import usual_words
from zwaif_fallback.reply_quality import identity, loops
from zwaif_fallback.text.sentences import Sentences
from zwaif_fallback.text.word_count import words_in
from zwaif_hooks.messages import ChatRequest, Purpose

LEAST_WORDS = 5
"""Words that a reply may always have, however short the usual ones are."""
FIRST_WORDS = 25
"""Words of a reply while there is only one earlier reply, which may be a greeting."""
UNKNOWN_WORDS = 40
"""Words of a reply while there is no earlier one."""
LONG_WORDS = 160
"""Words of a reply if the user asks for something long."""
A_FEW = 4
"""Words. A reply that was ended for a fault after fewer is continued by another attempt."""
LONG_SENTENCE = 6
"""Words. Shorter sentences (``Yes, of course I do.``) may be repeated."""
EARLIER_REPLIES = 4
"""Earlier replies whose sentences must not be repeated."""
_ASKS_FOR_LONG = re.compile(
    r"stor(?:y|ies)|poem|song|lyrics|\blist\b|explain|describe|in detail|recipe|essay|\bcode\b|step by step|"
    r"tell me (?:more|everything|all)|at length|"
    r"geschichte|gedicht|\blied\b|erklär|beschreib|ausführlich|rezept|"
    r"histoire|poème|chanson|expli|décri|recette|historia|cuento|poema|canción|receta|"
    r"storia|poesia|canzone|ricetta|história|расска|истори|стих|песн|опиши|объясни|рецепт|"
    r"物語|お話|詩|説明|詳しく|故事|诗|解释|解釋|詳細|详细|이야기|시를|설명",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Expected:
    """What is known about a reply before it is generated."""

    name: str = ""
    user: str = ""
    card: str = ""
    """Everything the model was told about the companion."""
    earlier: frozenset[str] = frozenset()
    """Sentences of the companion's last replies (:func:`loops.as_words`)."""
    asked: frozenset[str] = frozenset()
    """Sentences of the user's message, in the same form."""
    brackets: bool = False
    """The companion's own replies contain brackets."""
    is_forgetful: bool = False
    """The model is so small that it forgets its card."""
    answers: frozenset[str] = frozenset()
    """Words, one of which the answer to the question contains; empty if unknown."""
    words: int = 0
    """The reply ends after a sentence once it has this many; 0 for a summary, which may have any length."""

    @cached_property
    def names(self) -> frozenset[str]:
        """Names the companion may call herself."""
        return identity.names_of(self.name, self.card)

    @cached_property
    def may_be_an_ai(self) -> bool:
        return identity.says_she_is_an_ai(self.card)


def expected(request: ChatRequest, knows_its_card: bool = True) -> Expected:
    """Return what to expect of a reply to ``request``.

    Args:
        knows_its_card: whether the model remembers what its card says; if not, wrong answers are tried again.
    """
    if request.purpose is Purpose.SUMMARY:
        return Expected()
    persona = request.persona
    systems = [message.content for message in request.messages if message.role == "system"]
    said = [turn.content for turn in separate_notes(request.messages).turns if turn.role == "assistant"]
    return Expected(
        persona.char_name,
        persona.user_name,
        "\n".join([persona.character_card, persona.task, *systems]),
        frozenset(words for reply in said[-EARLIER_REPLIES:] for words in _long_sentences(reply)),
        frozenset(_long_sentences(request.messages[-1].content[:2000], A_FEW) if request.messages else ()),
        any("(" in reply for reply in said),
        not knows_its_card,
        frozenset() if knows_its_card else _answers(request, persona.character_card or "\n".join(systems)),
        _words_wanted(request, len(said)),
    )


def _answers(request: ChatRequest, card: str) -> frozenset[str]:
    newest = request.messages[-1].content if request.messages else ""
    names = f"{request.persona.char_name} {request.persona.user_name}"
    return frozenset(map(str.casefold, answers_to(card, newest, names)))


def _words_wanted(request: ChatRequest, replies: int) -> int:
    usual = usual_words(request)
    wanted = max(usual, FIRST_WORDS if replies == 1 else LEAST_WORDS) if usual else UNKNOWN_WORDS
    newest = request.messages[-1].content if request.messages else ""
    return max(wanted, LONG_WORDS) if _ASKS_FOR_LONG.search(newest[:2000]) else wanted


def _long_sentences(text: str, least: int = LONG_SENTENCE) -> list[str]:
    cutter = Sentences()
    found = [*filter(None, map(cutter.take, text)), cutter.rest]
    return [loops.as_words(sentence) for sentence in found if words_in(sentence) >= least]
