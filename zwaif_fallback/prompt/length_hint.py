"""The last line of a prompt: how long to speak, in the user's language, where small models look."""

from __future__ import annotations

from collections.abc import Sequence

from zwaif_fallback.languages import LANGUAGES, language_of

UP_TO = (9, 16, 30, 60)
"""Words of a usual reply, up to which each length is asked for; beyond them, the last."""
UNKNOWN = 20
"""Words taken for usual where she has said nothing yet."""


def closing_line(texts: Sequence[str], usual_words: int) -> str:
    """What is asked for behind the user's words; empty in a language that is not known here.

    Args:
        texts: the first of them that tells its language decides it.
        usual_words: how much she usually says; 0 where nobody knows.
    """
    language = LANGUAGES.get(next(filter(None, map(language_of, texts)), ""))
    if language is None:
        return ""
    return language.ask.format(language.lengths[sum((usual_words or UNKNOWN) > most for most in UP_TO)])
