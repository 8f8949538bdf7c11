"""Replies that are really failures, though nothing on the wire says so."""

from __future__ import annotations

from collections.abc import Sequence

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


FEWEST_WORDS = 6
"""A shorter reply without a full stop may be a way of talking (``Be right back``): more must speak for a torn one."""
SHORT_FEWEST = 4
"""The least of a short reply that may be told by its missing full stop alone."""
SHORT_ENOUGH = 3
"""Short replies of hers to have seen, each with its full stop, before one without is told."""
USUAL_ENOUGH = 5
"""Replies of hers to have seen before her way of ending them is known."""
OPEN_ENDED_SHARE = 0.1
"""Where more of her replies than this end without a full stop, one more says nothing."""
DANGLING = frozenset(
    ("a", "an", "and", "as", "at", "because", "but", "by", "for", "from", "has", "have", "his", "i", "if", "into",
     "its", "my", "of", "or", "our", "than", "the", "their", "very", "was", "we", "were", "which", "who", "will",
     "with", "would", "your")
)  # fmt: skip
"""Words that hardly ever end an English reply."""
NEVER_LAST = frozenset(("a", "an", "and", "into", "its", "my", "our", "than", "the", "their", "your"))
"""Those that do not end a short one either, as ``Of course I will``, ``What for`` or ``Guess who`` end."""
FEWEST_ASKED = 16
"""Tokens. Whoever asks for fewer may want a word."""


def looks_unfinished(reply: str, recent_replies: Sequence[str], stop: Sequence[str]) -> bool:
    """Did the server stop in the middle of a sentence, though it says that it finished?

    text-generation-webui ends a reply it ran out of memory for exactly like a good one. It shows only in the text: no
    full stop where this companion always puts one, or a last word that nothing ends with. A stop string that may cut
    a sentence (a line break, an asterisk) explains the same, so nothing is concluded then.
    """
    text = reply.rstrip()
    words = text.split()
    if not words or not (text[-1].isalnum() or text[-1] in ",-'’") or any(s in "\n*" for s in stop):
        return False
    if len(words) < FEWEST_WORDS:
        return _is_torn_though_short(words, recent_replies)
    if text[-1] in ",-" or words[-1].lower().strip("'’\"") in DANGLING:
        return True
    if len(recent_replies) < USUAL_ENOUGH:
        return False
    return sum(map(_is_open_ended, recent_replies)) / len(recent_replies) <= OPEN_ENDED_SHARE


def _is_torn_though_short(words: Sequence[str], recent_replies: Sequence[str]) -> bool:
    if len(words) < SHORT_FEWEST - 1:
        return False
    if words[-1].endswith(",") or words[-1] in NEVER_LAST:
        return True
    if len(words) < SHORT_FEWEST or len(recent_replies) < USUAL_ENOUGH or any(map(_is_open_ended, recent_replies)):
        return False
    return sum(len(said.split()) < FEWEST_WORDS for said in recent_replies) >= SHORT_ENOUGH


def _is_open_ended(said: str) -> bool:
    return said.rstrip()[-1:].isalnum()


def is_cut_to_nothing(reply: str, asked: int) -> bool:
    """Did the server stop for length after a word or two, though many tokens were asked for?

    So a server behaves whose context window is full: it says that the reply is as long as it may be.
    """
    return asked >= FEWEST_ASKED and len(reply.split()) <= 2


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
