"""Replies that are really failures, though nothing on the wire says so."""

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
"""Beginnings of what v1.14-R4 shows as replies (its ``API/oobaooga_api.py``, ``API/ollama_api.py`` and controller)."""
_FIRST_LETTERS = frozenset(apology[0] for apology in APOLOGIES)
LONGEST = 160
"""A longer text has more to say than an apology, whatever it begins with."""
MOST_OF_NOTHING = 16
"""Characters of a word or two."""


TOKENS = re.compile(r"<\|[A-Za-z_]{1,30}\|>|</?s>|<(?:eos|bos|end_of_turn|start_of_turn)>|</?think(?:ing)?>")
"""Tokens and marks of models, which are no words; a server with the wrong template sends them as text."""
_BEGUN_TOKEN = re.compile(r"<[/|]{0,2}[A-Za-z_]{0,30}\|?$")
_EMPTY_SIGNS = "*_~`\ufffd\u3164\u2800\u115f\u1160\ufe0e\ufe0f"
"""The looks of a text without the text, signs of damage, and what Unicode calls letters and shows nothing."""
_UNSEEN = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")


_CLOSING = ("Po", "Pe", "Pf", "Pi", "So", "Sk", "Sm")
"""Unicode's names for marks, closing brackets, quotations (languages close with different ones) and pictures."""
_GO_ON = frozenset(",;:、，；：،؛¿¡&@#%/\\'’+=|<>")
"""Marks that something follows, and the apostrophe, which stands inside words."""


def says_nothing(text: str, is_whole: bool = True) -> bool:
    """Is there nothing in this reply that could be said or read: no letter, no figure, no mark, no picture?

    Where it is not whole, what may become one of a model's ``TOKENS`` says nothing yet.
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
    """Does it end as sentences and replies end: with a mark, a closing bracket or quotation, a picture?

    Many good replies do not; only where nothing else tells of the end may this be asked.
    """
    last = reply.rstrip("\n\ufe0f")[-1:]
    if not last or last in _GO_ON or (last in '"*' and reply.count(last) % 2):
        return False
    return unicodedata.category(last) in _CLOSING


def is_cut_to_nothing(reply: str, asked: int, counted: int | None = None) -> bool:
    """Did the server stop for length after a word or two, though many tokens were asked for?

    So a server behaves whose context window is full: it says that the reply is as long as it may be. Where it
    ``counted`` all the tokens that were asked for, the reply is whole (a model may think in tokens that nobody sees).
    Else characters count, as many languages put no spaces between words; a token is hardly ever less than a third of
    one.
    """
    if counted is not None and counted >= asked:
        return False
    said = len(reply.strip())
    return len(reply.split()) <= 2 and said <= MOST_OF_NOTHING and said * 3 < asked


def could_be_an_apology(begun: str) -> bool:
    """Is it too early to tell this beginning of a reply from an apology?"""
    text = begun.lstrip()
    if text and text[0] not in _FIRST_LETTERS:
        return False
    return len(text) <= LONGEST and any(text.startswith(a) or a.startswith(text) for a in APOLOGIES)


def is_an_apology(reply: str) -> bool:
    """Is this whole reply one of the known apologies and nothing else?"""
    text = reply.strip()
    return 0 < len(text) <= LONGEST and text.startswith(APOLOGIES)
