"""Decides when a reply is endless: a model that says "hello" 49,158 times is never silent, so no deadline ends it."""

from __future__ import annotations

MOST_CHARS_PER_TOKEN = 12
"""More than any real text has. The server should keep to the number of tokens that was asked for by itself."""
LEAST_CHARS = 2_000
UNKNOWN_CHARS = 30_000
"""If the request names no limit: half an hour of speech."""
MORE_CHARS = 1_000
"""How much longer to wait for the end of a sentence."""
SENTENCE_ENDS = (".", "!", "?", "…", "。", "！", "？", "\n")


def length_limit(max_tokens: int) -> int:
    """Return the characters after which a reply is endless; ``max_tokens`` is 0 or less if there is no limit."""
    return max(LEAST_CHARS, max_tokens * MOST_CHARS_PER_TOKEN) if max_tokens > 0 else UNKNOWN_CHARS


def should_end(length: int, piece: str, limit: int) -> bool:
    """Return whether to end a reply of this ``length`` after this ``piece``: at the end of a sentence if possible."""
    if length < limit:
        return False
    return piece.rstrip(" \"'*)”»").endswith(SENTENCE_ENDS) or length >= limit + MORE_CHARS
