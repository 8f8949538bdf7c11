"""Joins a torn reply with its continuation by another model.

Z-Waif speaks sentences as they arrive, so nothing delivered can be taken back. All that can be done is to remove what
the continuation repeats, and to insert the one space it may need.

A model that was given the delivered text as the start of its own turn is ``exact``: its text is passed on unchanged,
unless it starts all over again. Any other may repeat any part of the end, or drop or double the space in between, and
only the text itself can tell. Where it is ambiguous:

- A repetition starts at a word of the delivered text. If it starts inside a word it must be ``INSIDE_A_WORD``
  characters long; in scripts without spaces, where each character may be a word, ``UNSPACED``.
- A continuation that starts with a space after a word goes on: ``no`` and `` no, never`` are two words. Only
  ``AFTER_A_SPACE`` different words in a row are taken for a repetition.
- Letters after a letter continue the same word: a lost space cannot be told from the rest of a word.
  ``split_at_last_word`` avoids that: give the model the text before that word and let ``LastWordJoiner`` expect it.
"""

from __future__ import annotations

import re
import unicodedata

INSIDE_A_WORD = 8
"""Characters. ``ight `` may well follow ``bright ``, but eight equal letters are no coincidence."""
UNSPACED = 4
"""Characters. Chinese doubles one or two (``看看``, ``休息休息``) as a matter of grammar."""
AFTER_A_SPACE = 3
"""Different words. ``again and again`` has two."""
_ZWJ = "\u200d"
_WORDS = re.compile(r"[^\W_]+")
_AFTER_MARK = re.compile(r"(?<=[.!?])")
_SENTENCE_MARKS = ".!?,;:…"
_OPENING = "([{“‘«„"


class Joiner:
    """Passes a continuation on without what was ``delivered`` already; see above for ``exact``."""

    def __init__(self, delivered: str, exact: bool = False) -> None:
        self._delivered = delivered
        self._exact = exact
        self._held = ""
        self._decided = not delivered or (exact and _words(delivered) < 2)

    def feed(self, piece: str) -> str:
        """Return the text to pass on now. The beginning is held back until it is known whether it is a repetition."""
        if self._decided:
            return piece
        self._held += piece
        if self._may_still_repeat():
            return ""
        return self._decide()

    def finish(self) -> str:
        """Return what was still held back when the continuation ended."""
        return "" if self._decided else self._decide()

    def _may_still_repeat(self) -> bool:
        text = self._held.lstrip()
        if not text:
            return True
        if self._exact:
            return self._delivered.lstrip().startswith(text)
        return len(text) < 2 or text in self._delivered

    def _decide(self) -> str:
        self._decided = True
        held, self._held = self._held, ""
        if self._exact:
            return _without_echo(self._delivered, held)
        rest = _without_overlap(self._delivered, held)
        return _with_one_space(self._delivered, held) if rest is None else rest


class LastWordJoiner:
    """Passes a continuation on whose model was given ``split_at_last_word(delivered)`` without the word.

    It should start with that word. What follows the word in its text follows it in the reply.
    """

    def __init__(self, delivered: str) -> None:
        given, self._word = split_at_last_word(delivered)
        self._joiner = Joiner(given if self._word else delivered)
        self._held = ""
        self._met = not self._word
        self.failed = False
        """The continuation started with another word; nothing of it was passed on."""

    def feed(self, piece: str) -> str:
        return self._checked(self._joiner.feed(piece), ended=False)

    def finish(self) -> str:
        """Return what was still held back when the continuation ended."""
        return self._checked(self._joiner.finish(), ended=True)

    def _checked(self, text: str, ended: bool) -> str:
        if self._met or self.failed:
            return "" if self.failed else text
        self._held += text
        begun = self._held.lstrip()
        if len(begun) < len(self._word):
            # A new turn starts with a capital letter, even in the middle of a sentence.
            self.failed = bool(ended or not _same_start(self._word, begun))
            return ""
        self._met = _same_start(begun, self._word)
        self.failed = not self._met
        return begun[len(self._word) :] if self._met else ""


def split_sentences(text: str) -> list[str]:
    """Split ``text`` into pieces of at most one sentence each.

    Z-Waif speaks one sentence for each piece it gets, and loses count if a piece ends two.
    """
    pieces = [piece for piece in _AFTER_MARK.split(text) if piece]
    if len(pieces) > 1 and pieces[-1].isspace():
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return pieces


class SurrogateJoiner:
    """Rejoins characters that a server split into two JSON escapes (half an emoji each)."""

    def __init__(self) -> None:
        self._half = ""

    def feed(self, text: str) -> str:
        if not self._half and (text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text)):
            return text
        text = self._half + text
        self._half = ""
        if "\ud800" <= text[-1:] <= "\udbff":
            self._half, text = text[-1], text[:-1]
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "ignore")


def split_at_last_word(delivered: str) -> tuple[str, str]:
    """Return what to give a model as the start of its turn, and the word it must then start with.

    The word is empty if the text ends after a word: with a space or a mark, or in a script without spaces. The start is
    empty if the word is the first one.
    """
    start = len(delivered)
    while start and _word_goes_on(delivered[:start]) and not unspaced(delivered[start - 1]):
        start -= 1
    if not any(c.isalnum() for c in delivered[:start]):
        start = 0
    return delivered[:start].rstrip(), delivered[start:]


# --- repetitions ---------------------------------------------------------------------------------------------------


def _without_echo(delivered: str, held: str) -> str:
    """Return ``held`` without the whole delivered text in front of it."""
    text, whole = held.lstrip(), delivered.strip()
    inside_a_word = text == held and _in_word(delivered[-1:])
    if not text.startswith(whole) or _words(whole) < (2 if inside_a_word else AFTER_A_SPACE):
        return held
    rest = _after(delivered, text[len(whole) :])
    return held if rest is None else rest


def _without_overlap(delivered: str, held: str) -> str | None:
    """Return what follows the longest beginning of ``held`` that ``delivered`` ends with; None if there is none."""
    text, core = held.lstrip(), delivered.rstrip()
    after_a_space = text != held and core == delivered
    for size in range(min(len(core), len(text)), 0, -1):
        if core.endswith(text[:size]) and _is_said_again(core, text[:size], after_a_space):
            rest = _after(delivered, text[size:])
            if rest is not None:
                return rest
    return None


def _after(delivered: str, rest: str) -> str | None:
    """Return what follows a repetition of ``delivered`` without its last spaces; None if a word goes on there."""
    spaces = delivered[len(delivered.rstrip()) :]
    if not spaces:
        return rest
    if rest.startswith(spaces):
        return rest[len(spaces) :]
    return None if _in_word(rest[:1]) and not unspaced(rest[:1]) else rest.lstrip(" ")


def _is_said_again(core: str, overlap: str, after_a_space: bool) -> bool:
    """Return whether an overlap is a repetition and no coincidence; ``core`` ends with it."""
    start = len(core) - len(overlap)
    if not any(c.isalnum() for c in overlap):
        return _is_open(overlap)
    if after_a_space:
        return _words(overlap) >= AFTER_A_SPACE
    if unspaced(overlap[0]):
        return len(overlap) >= UNSPACED
    return not (_word_goes_on(core[:start]) and _in_word(overlap[0])) or len(overlap) >= INSIDE_A_WORD


def _is_open(signs: str) -> bool:
    """Return whether they end inside an emoji of several characters, as people and flags are."""
    flags = len(signs) - len(signs.rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
    return signs[0] not in "\u200d\ufe0f" and (signs[-1] == _ZWJ or flags % 2 == 1)


# --- the space in between ------------------------------------------------------------------------------------------


def _with_one_space(delivered: str, held: str) -> str:
    text = held.lstrip(" ")
    if delivered[-1:].isspace() or not text:
        return text
    if text == held:
        return " " + held if _needs_space(delivered, text) else held
    return " " + text


def _needs_space(delivered: str, text: str) -> bool:
    """Return whether ``text`` can only follow ``delivered`` with a space in between."""
    last, first = delivered[-1], text[0]
    ends_word = last.isalnum() or last in _SENTENCE_MARKS or _closes(delivered)
    if first in _OPENING or (first == '"' and delivered.count('"') % 2 == 0):
        return ends_word and not unspaced(last)
    if not first.isalnum() or unspaced(first):
        return False
    if last.islower():
        return first.isupper()
    if last in _SENTENCE_MARKS:
        return not _is_inside(delivered, text)
    return _closes(delivered)


def _closes(delivered: str) -> bool:
    """Return whether it ends with a closed quotation, bracket or *action*."""
    last = delivered[-1]
    return last in ")]}”»" or (last in '"*' and delivered.count(last) % 2 == 0)


def _is_inside(delivered: str, text: str) -> bool:
    """Return whether no space follows the mark: ``3.5``, ``10:30``, ``e.g.``, ``U.S.``, ``example.org``, ``:D``."""
    before, mark, first = delivered[-2:-1], delivered[-1], text[0]
    if first.isdigit() and before.isdigit():
        return True
    if mark in ":;":
        return before in ("", " ", "\n")
    if mark != ".":
        return False
    if before.isalpha() and not _in_word(delivered[-3:-2]):
        return text[1:2] == "."
    return first.islower() and before != "."


# --- letters --------------------------------------------------------------------------------------------------------


def _in_word(c: str) -> bool:
    """Return whether ``c`` belongs to a word: a letter, digit, apostrophe or combining mark."""
    if not c:
        return False
    return c.isalnum() or c in "'’_" or (unicodedata.category(c)[0] == "M" and not "\ufe00" <= c <= "\ufe0f")


def _word_goes_on(before: str) -> bool:
    """Return whether a letter after ``before`` continues its last word; an apostrophe may also open a quotation."""
    last = before[-1:]
    return _in_word(before[-2:-1]) if last in ("'", "’") else _in_word(last)


def unspaced(c: str) -> bool:
    """Return whether ``c`` is of a script without spaces: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    return (
        "\u0e00" <= c <= "\u0eff"
        or "\u1000" <= c <= "\u109f"
        or "\u1780" <= c <= "\u17ff"
        or ("\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uff66" <= c <= "\uff9d" or c >= "\U00020000")
    )


def _words(text: str) -> int:
    """Count the different words; in scripts without spaces, the different characters."""
    found = set(_WORDS.findall(text))
    return len(found) + sum(len(set(word)) - 1 for word in found if unspaced(word[0]))


def _same_start(text: str, start: str) -> bool:
    return text[1:].startswith(start[1:]) and text[:1].casefold().startswith(start[:1].casefold())
