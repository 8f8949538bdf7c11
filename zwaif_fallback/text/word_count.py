"""Counts words in any script."""

from __future__ import annotations

from zwaif_hooks.reply.continuation import unspaced

LETTERS_A_WORD = 2
"""In scripts without spaces: Chinese, Japanese and Thai words have about two characters."""


def words_in(text: str) -> int:
    """Count the words of ``text``, in any script."""
    dense = sum(map(unspaced, text))
    apart = "".join(" " if unspaced(c) else c for c in text)
    return sum(any(map(str.isalnum, word)) for word in apart.split()) + -(-dense // LETTERS_A_WORD)
