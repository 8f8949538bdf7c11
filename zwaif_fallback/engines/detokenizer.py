"""Turn tokens into text as they arrive: whole characters only, with the spaces of the complete text."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

_BROKEN = "\ufffd"
"""What decoders return for an incomplete UTF-8 sequence."""
_CONTEXT_TOKENS = 4
_LONGEST_CHARACTER = 24
"""Tokens to search back for the start of a character; more than any emoji sequence takes."""


class Detokenizer:
    """Decode one token at a time.

    A token's text depends on its neighbours (leading spaces, multi-byte characters), so each step decodes a short
    window that starts at a character boundary, and returns what the new token added to it.
    """

    def __init__(self, decode: Callable[[list[int]], str], prompt: Sequence[int] = ()) -> None:
        self._decode = decode
        self._context: deque[list[int]] = deque([_tail(decode, prompt)])
        self._pending: list[int] = []

    def push(self, token: int) -> str:
        """Return the text this token completes; empty while a character is incomplete."""
        self._pending.append(token)
        text = self._new_text()
        if text.endswith(_BROKEN):
            return ""
        self._accept()
        return text

    def flush(self) -> str:
        """Return the text still held back, without an incomplete character at its end."""
        text = self._new_text().rstrip(_BROKEN) if self._pending else ""
        self._pending = []
        return text

    def _new_text(self) -> str:
        known = [token for chunk in self._context for token in chunk]
        return self._decode(known + self._pending)[len(self._decode(known)) :]

    def _accept(self) -> None:
        self._context.append(self._pending)
        self._pending = []
        while sum(map(len, self._context)) - len(self._context[0]) >= _CONTEXT_TOKENS:
            self._context.popleft()


def _tail(decode: Callable[[list[int]], str], prompt: Sequence[int]) -> list[int]:
    """Return the last tokens of the prompt, starting at a character boundary."""
    for length in range(min(_CONTEXT_TOKENS, len(prompt)), min(_LONGEST_CHARACTER, len(prompt)) + 1):
        tail = list(prompt[len(prompt) - length :])
        if not decode(tail).startswith(_BROKEN):
            return tail
    return []
