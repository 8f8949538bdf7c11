"""Sentences, as they are handed to the voice."""

import re

_END = re.compile(r"(?<=[.!?])\s+")


def split_into_sentences(text):
    """``[]`` for no text; the last one may be unfinished."""
    return [part for part in _END.split(text.replace("\n", " ").strip()) if part]
