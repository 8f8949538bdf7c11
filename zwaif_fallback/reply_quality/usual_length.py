"""How long the companion's replies usually are, measured in earlier replies."""

from __future__ import annotations

import statistics

from zwaif_fallback.prompt.changing_notes import separate_notes
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.reply.continuation import unspaced
from zwaif_hooks.reply.spoken_text import spoken

RECENT = 12
"""How many replies are looked at: enough that one long story does not matter, few enough to follow a change."""
LETTERS_A_WORD = 2
"""In scripts without spaces: Chinese, Japanese and Thai words have about two characters."""


def usual_words(request: ChatRequest) -> int:
    """Return the words of a usual reply: the median of recent ones, without thoughts and summaries; 0 if none."""
    said = [turn.content for turn in separate_notes(request.messages).turns if turn.role == "assistant"]
    lengths = [words_in("".join(spoken([text]))) for text in (said or request.recent_replies)[-RECENT:]]
    return statistics.median_high(filter(None, lengths)) if any(lengths) else 0


def words_in(text: str) -> int:
    """Count the words of ``text``, in any script."""
    dense = sum(map(unspaced, text))
    apart = "".join(" " if unspaced(c) else c for c in text)
    return sum(any(map(str.isalnum, word)) for word in apart.split()) + -(-dense // LETTERS_A_WORD)
