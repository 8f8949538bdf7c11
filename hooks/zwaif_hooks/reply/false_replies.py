"""Recognises replies that are really failures although no error was reported: apologies, blank and cut-off replies."""

from __future__ import annotations

import re
import unicodedata

APOLOGIES = (
    "Sorry, I can't connect to the AI backend right now",
    "Sorry, the request timed out. Please try again",
    "Sorry, there was an API error (status",
    "Sorry, something unexpected went wrong with the request",
    "Sorry, I'm having connection issues right now",
    "Sorry, I'm having trouble connecting to the AI backend right now",
    "Sorry, I'm having trouble processing your message right now",
    "I'm having trouble responding right now",
    "I'm having trouble with my response format",
    "I'm having trouble generating a response",
    "I'm having trouble processing the image right now",
    "I apologize, but I'm having trouble generating a response right now",
    "Error: Empty response from API",
    "Error: No valid response from the API",
    "Error: Could not connect to API at",
    "Error: Could not connect to Ollama",
    "Error: An unexpected error occurred while processing the API response",
    "Error in API call:",
    "Error processing image",
)
"""Beginnings of errors that v1.14-R4 shows as replies (``API/oobaooga_api.py``, ``API/ollama_api.py``, controller)."""
_FIRST_LETTERS = frozenset(apology[0] for apology in APOLOGIES)
LONGEST = 160
"""Characters. A longer text is more than an apology, however it begins."""
MOST_OF_NOTHING = 16
"""Characters of at most two words."""


TOKENS = re.compile(r"<\|[A-Za-z_]{1,30}\|>|</?s>|<(?:eos|bos|end_of_turn|start_of_turn)>|</?think(?:ing)?>")
"""Control tokens of models; a server with the wrong template sends them as text."""
_BEGUN_TOKEN = re.compile(r"<[/|]{0,2}[A-Za-z_]{0,30}\|?$")
_EMPTY_SIGNS = "*_~`\ufffd\u3164\u2800\u115f\u1160\ufe0e\ufe0f"
"""Formatting without text, replacement characters, and letters that are invisible."""
_UNSEEN = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")


_CLOSING = ("Po", "Pe", "Pf", "Pi", "So", "Sk", "Sm")
"""Unicode categories of marks, closing brackets, quotation marks (languages close with different ones) and symbols."""
_GO_ON = frozenset(",;:、，；：،؛¿¡&@#%/\\'’+=|<>")
"""Marks after which a sentence goes on, and the apostrophe, which is part of words."""


def is_blank(text: str, is_whole: bool = True) -> bool:
    """Return whether a reply has nothing to speak or read: no letter, digit, mark or emoji.

    If it is not whole, the beginning of a control token counts as nothing.
    """
    if text[:1].isascii() and text[:1].isalnum():
        return False
    rest = TOKENS.sub("", text)
    if not is_whole:
        rest = _BEGUN_TOKEN.sub("", rest)
    return not any(_is_seen(c) for c in rest)


def _is_seen(c: str) -> bool:
    return c not in _EMPTY_SIGNS and unicodedata.category(c) not in _UNSEEN


def ends_a_sentence(reply: str) -> bool:
    """Return whether it ends like a sentence: with a mark, a closing bracket or quotation mark, an emoji.

    Many good replies do not, so ask this only if nothing else marks the end.
    """
    last = reply.rstrip("\n\ufe0f")[-1:]
    if not last or last in _GO_ON or (last in '"*' and reply.count(last) % 2):
        return False
    return unicodedata.category(last) in _CLOSING


def is_cut_short(reply: str, asked: int, counted: int | None = None) -> bool:
    """Return whether a server stopped for length after a word or two although many tokens were asked for.

    That is what a server with a full context window does. If it ``counted`` all the tokens that were asked for, the
    reply is whole (a model may think in tokens that nobody sees). Otherwise characters decide, because many languages
    have no spaces between words; a token is hardly ever less than a third of a character.
    """
    if counted is not None and counted >= asked:
        return False
    said = len(reply.strip())
    return len(reply.split()) <= 2 and said <= MOST_OF_NOTHING and said * 3 < asked


def could_be_an_apology(begun: str) -> bool:
    """Return whether this beginning of a reply may still become an apology."""
    text = begun.lstrip()
    if text and text[0] not in _FIRST_LETTERS:
        return False
    return len(text) <= LONGEST and any(text.startswith(a) or a.startswith(text) for a in APOLOGIES)


def is_an_apology(reply: str) -> bool:
    """Return whether this whole reply is one of the known apologies and nothing else."""
    text = reply.strip()
    return 0 < len(text) <= LONGEST and text.startswith(APOLOGIES)
