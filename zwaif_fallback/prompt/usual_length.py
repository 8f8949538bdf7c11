"""How long the companion's replies usually are, measured in earlier replies."""

from __future__ import annotations

import statistics

from zwaif_fallback.prompt.changing_notes import separate_notes
from zwaif_fallback.text.word_count import words_in
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.reply.spoken_text import spoken

RECENT = 12
"""How many replies are looked at: enough that one long story does not matter, few enough to follow a change."""


def usual_words(request: ChatRequest) -> int:
    """Return the words of a usual reply: the median of recent ones, without thoughts and summaries; 0 if none."""
    said = [turn.content for turn in separate_notes(request.messages).turns if turn.role == "assistant"]
    lengths = [words_in("".join(spoken([text]))) for text in (said or request.recent_replies)[-RECENT:]]
    return statistics.median_high(filter(None, lengths)) if any(lengths) else 0
