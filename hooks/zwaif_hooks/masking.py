"""Replaces the values of secret settings by ``***`` in everything that is printed, logged or shown."""

from __future__ import annotations

import json
import re
import threading
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 6
"""Characters; a shorter value would also match inside ordinary words."""

_lock = threading.Lock()
_spellings: set[str] = set()
_pattern: re.Pattern[str] | None = None


def hide(secret: str) -> None:
    """Mask this value from now on, also as it looks in a URL, in JSON and in a ``repr``.

    Values of fewer than ``SHORTEST`` characters are ignored. A value that was replaced stays masked.
    """
    global _pattern
    if len(secret) < SHORTEST:
        return
    spelled = {secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    with _lock:
        if spelled <= _spellings:
            return
        _spellings.update(spelled)
        longest_first = sorted(_spellings, key=len, reverse=True)
        _pattern = re.compile("|".join(map(re.escape, longest_first)))


def masked(text: str) -> str:
    """Return ``text`` with each hidden value replaced."""
    return text if _pattern is None else _pattern.sub(MASK, text)
