"""How much the companion usually says at once, learned from her earlier replies."""

from __future__ import annotations

import statistics

from zwaif_fallback.prompt.changing_notes import separate_notes
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.reply.continuation import unspaced
from zwaif_hooks.reply.spoken_text import spoken

RECENT = 12
"""Replies that are looked at: a mood may change how much she says, one long story does not."""
LETTERS_A_WORD = 2
"""Of scripts without spaces: Chinese, Japanese and Thai words have about two characters."""


def usual_words(request: ChatRequest) -> int:
    """Words of a usual reply of hers (the median of the recent ones); 0 where she has said nothing yet.

    What she summed up for herself is no reply, and what a model thought before one is not counted.
    """
    said = [turn.content for turn in separate_notes(request.messages).turns if turn.role == "assistant"]
    lengths = [words_in("".join(spoken([text]))) for text in (said or request.recent_replies)[-RECENT:]]
    return statistics.median_high(filter(None, lengths)) if any(lengths) else 0


def words_in(text: str) -> int:
    """Words of ``text`` in any script."""
    dense = sum(map(unspaced, text))
    apart = "".join(" " if unspaced(c) else c for c in text)
    return sum(any(map(str.isalnum, word)) for word in apart.split()) + -(-dense // LETTERS_A_WORD)
