"""Control tokens as text: which tokens of a vocabulary mean more than words, and what keeps text from becoming one."""

from __future__ import annotations

import re
from collections.abc import Iterable

BREAK = "\u200b"
"""Zero-width space: put into a control token it is invisible and silent, but no tokenizer reads over it."""


def is_mark(token: str) -> bool:
    """Return whether a token is more than one letter and not blank; some tokenizers have tokens for runs of blanks."""
    return len(token) > 1 and bool(token.strip(" ▁\t\r\n"))


def representatives(tokens: Iterable[str]) -> tuple[str, ...]:
    """Return the tokens that are marks; of those that differ only in a number (``<unused17>``), one stands for all."""
    by_shape: dict[str, str] = {}
    for token in filter(is_mark, tokens):
        by_shape.setdefault(re.sub(r"\d+", "0", token), token)
    return tuple(by_shape.values())
