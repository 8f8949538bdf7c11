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
"""A shorter reply without a full stop is a way of talking, not a torn sentence."""
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


def looks_unfinished(reply: str, recent_replies: Sequence[str], stop: Sequence[str]) -> bool:
    """Did the server stop in the middle of a sentence, though it says that it finished?

    text-generation-webui ends a reply it ran out of memory for exactly like a good one. It shows only in the text: no
    full stop where this companion always puts one, or a last word that nothing ends with. A stop string that may cut
    a sentence (a line break, an asterisk) explains the same, so nothing is concluded then.
    """
    text = reply.rstrip()
    words = text.split()
    if len(words) < FEWEST_WORDS or not (text[-1].isalnum() or text[-1] in ",-'’") or any(s in "\n*" for s in stop):
        return False
    if text[-1] in ",-" or words[-1].lower().strip("'’\"") in DANGLING:
        return True
    if len(recent_replies) < USUAL_ENOUGH:
        return False
    open_ended = sum(1 for said in recent_replies if said.rstrip()[-1:].isalnum())
    return open_ended / len(recent_replies) <= OPEN_ENDED_SHARE


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
