"""Replies that are really failures: the apologies that v1.14 and its forks give as if the companion had said them.

They reach a guard where another Z-Waif, a proxy or a bot stands behind the address that is taken for an LLM server.
"""

from __future__ import annotations

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
LONGEST = 160
"""A longer text has more to say than an apology, whatever it begins with."""


def could_be_an_apology(begun: str) -> bool:
    """Is it too early to tell this beginning of a reply from an apology?"""
    text = begun.lstrip()
    return len(text) <= LONGEST and any(text.startswith(a) or a.startswith(text) for a in APOLOGIES)


def is_an_apology(reply: str) -> bool:
    """Is this whole reply one of the known apologies and nothing else?"""
    text = reply.strip()
    return 0 < len(text) <= LONGEST and text.startswith(APOLOGIES)
