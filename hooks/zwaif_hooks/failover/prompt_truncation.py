"""What a server says it has read and written, and whether that can be all that it was given to read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zwaif_hooks.messages import ChatRequest
    from zwaif_hooks.stream import Usage

CHARS_A_TOKEN = 5.0
"""Of plain ASCII text: more than any common tokenizer makes of it, so that a prompt is rather taken for shorter."""
TOKENS_AN_OTHER = 0.5
"""For a letter of any other script, where one token is one to three of them."""
READ_SHARE = 0.6
"""A server that read less than this of so careful an estimate has not read everything."""
FEWEST_CHARS_A_TOKEN = 3.0
"""For a first look, without reading the prompt."""
SMALLEST_WINDOW = 900
"""Tokens. What was cut to fit fills at least half of the smallest usual window (2048); a server that counts less has
not cut, but counts only what it did not know from the turn before (old Ollamas)."""
FEWEST_MISSING = 500
"""Tokens. Less is within the error of an estimate."""


def estimated_tokens(texts: Iterable[str]) -> int:
    """At least about how many tokens these texts are, whatever the tokenizer."""
    total = 0.0
    for text in texts:
        plain = len(text.encode("ascii", "ignore"))
        total += plain / CHARS_A_TOKEN + (len(text) - plain) * TOKENS_AN_OTHER
    return int(total)


def was_shortened(read: int, estimated: int) -> bool:
    """Did a server that counted ``read`` tokens drop a part of a prompt of about ``estimated``?"""
    return SMALLEST_WINDOW <= read < READ_SHARE * estimated and estimated - read >= FEWEST_MISSING


def unread(usage: Usage | None, prompt_chars: int, describe: Callable[[], ChatRequest]) -> str:
    """What the server left out of the prompt, in one line; empty where it seems to have read everything.

    Ollama drops the oldest messages when its context window is full, and does not say so: only its count shows it.
    ``describe`` is called where the length of the prompt alone is suspicious.
    """
    read = usage.prompt_tokens if usage is not None else None
    if read is None or not was_shortened(read, int(prompt_chars / FEWEST_CHARS_A_TOKEN)):
        return ""
    estimated = estimated_tokens(message.content for message in describe().messages)
    return f"the server read only {read} of about {estimated} tokens" if was_shortened(read, estimated) else ""
