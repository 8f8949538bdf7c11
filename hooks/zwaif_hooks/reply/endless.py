"""When a reply has no end: a model that says "hello" 49,158 times speaks, so no deadline ever ends it."""

from __future__ import annotations

MOST_CHARS_PER_TOKEN = 12
"""More than any reply of words has; the server is asked for so many tokens and should keep to it by itself."""
LEAST_CHARS = 2_000
UNKNOWN_CHARS = 30_000
"""Where nothing was asked for: half an hour of speech."""
MORE_CHARS = 1_000
"""How much further the end of a sentence is waited for."""
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "\n")


def longest(max_tokens: int) -> int:
    """Characters after which a reply is without end; ``max_tokens`` is 0 or less where none were asked for."""
    return max(LEAST_CHARS, max_tokens * MOST_CHARS_PER_TOKEN) if max_tokens > 0 else UNKNOWN_CHARS


def is_to_end(length: int, piece: str, limit: int) -> bool:
    """Whether a reply of this ``length`` ends with this last ``piece``: behind a sentence, where there are any."""
    if length < limit:
        return False
    return piece.rstrip(" \"'*)”»").endswith(SENTENCE_ENDS) or length >= limit + MORE_CHARS
