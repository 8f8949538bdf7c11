"""The last line of a prompt, where small models look: how long to reply, in the user's language."""

from __future__ import annotations

from collections.abc import Sequence

from zwaif_fallback.languages import LANGUAGES, language_of

UP_TO = (9, 16, 30, 60)
"""Upper limits, in words of a usual reply, of the lengths that are asked for; above them, the last length."""
UNKNOWN = 20
"""Words of a usual reply if there is none yet."""


def closing_line(texts: Sequence[str], usual_words: int) -> str:
    """Return the line that goes after the user's words; empty for a language without one.

    Args:
        texts: the first one whose language is recognised decides.
        usual_words: words of a usual reply; 0 if unknown.
    """
    language = LANGUAGES.get(next(filter(None, map(language_of, texts)), ""))
    if language is None:
        return ""
    return language.ask.format(language.lengths[sum((usual_words or UNKNOWN) > most for most in UP_TO)])
