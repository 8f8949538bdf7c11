"""Detects, by the server's own token count, that it dropped a part of the prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zwaif_hooks.messages import ChatRequest
    from zwaif_hooks.stream import Usage

CAUTIOUS_CHARS_PER_TOKEN = 5.0
"""For ASCII text: more than any common tokenizer yields, so a prompt is estimated too short rather than too long."""
TOKENS_PER_OTHER_CHAR = 0.5
"""For any other script, in which a token is one to three characters."""
READ_SHARE = 0.6
"""A server that read less than this share of the cautious estimate has not read everything."""
FEWEST_CHARS_PER_TOKEN = 3.0
"""For a first check that does not read the prompt."""
SMALLEST_WINDOW = 900
"""Tokens. A prompt cut to fit fills about half of the smallest common window (2048) or more. A server that counts fewer
did not cut it; it counts only what was not cached from the previous turn (old Ollamas)."""
FEWEST_MISSING = 500
"""Tokens. A smaller difference is within the error of the estimate."""


def estimated_tokens(texts: Iterable[str]) -> int:
    """Return a cautious estimate of how many tokens these texts are, whatever the tokenizer."""
    total = 0.0
    for text in texts:
        plain = len(text.encode("ascii", "ignore"))
        total += plain / CAUTIOUS_CHARS_PER_TOKEN + (len(text) - plain) * TOKENS_PER_OTHER_CHAR
    return int(total)


def was_shortened(read: int, estimated: int) -> bool:
    """Return whether a server that counted ``read`` tokens dropped a part of a prompt of about ``estimated``."""
    return SMALLEST_WINDOW <= read < READ_SHARE * estimated and estimated - read >= FEWEST_MISSING


def truncation_note(usage: Usage | None, prompt_chars: int, describe: Callable[[], ChatRequest]) -> str:
    """Say in one line what the server left out of the prompt; empty if it seems to have read everything.

    Ollama drops the oldest messages when its context window is full, and only its token count shows it. ``describe`` is
    called only if the length of the prompt is suspicious.
    """
    read = usage.prompt_tokens if usage is not None else None
    if read is None or not was_shortened(read, int(prompt_chars / FEWEST_CHARS_PER_TOKEN)):
        return ""
    estimated = estimated_tokens(message.content for message in describe().messages)
    return f"the server read only {read} of about {estimated} tokens" if was_shortened(read, estimated) else ""
