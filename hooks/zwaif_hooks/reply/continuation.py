"""The seam: where one speaker's half reply and the next speaker's continuation become one text.

Z-Waif speaks sentences as they arrive, so nothing delivered can be taken back: all that can be done is to leave out
what the continuation says again and to put in the one space it may need.

A speaker that was given the delivered text as the start of its own turn is ``exact``: its text is passed on character
by character, unless it begins with everything over again. Anybody else may say again any part of the end, or lose or
double the space in between, and the text alone must tell. Where it cannot, this is how it is taken:

- What is said again begins with a word of what was delivered. Beginning inside a word, it must be ``INSIDE_A_WORD``
  characters long; in scripts without spaces, where each character may be a word, ``UNSPACED``.
- A continuation that begins with a space, behind a word, goes on: ``no`` and `` no, never`` are two words. Only
  ``BEHIND_A_SPACE`` different words in a row are taken for something said again.
- Letters behind a letter go on with the same word: whoever lost a space there cannot be told from somebody who
  finishes a word. ``split_at_last_word`` keeps out of that: give the speaker what is before the cut and let
  ``LastWordJoiner`` expect the word.
"""

from __future__ import annotations

import re
import unicodedata

INSIDE_A_WORD = 8
"""Characters. ``ight `` may well follow ``bright `` (right), but eight letters that do are no coincidence."""
UNSPACED = 4
"""Characters. Chinese doubles one or two (``看看``, ``休息休息``) as a matter of grammar."""
BEHIND_A_SPACE = 3
"""Different words. ``again and again`` has two."""
_ZWJ = "\u200d"
_WORDS = re.compile(r"[^\W_]+")
_BEHIND_MARK = re.compile(r"(?<=[.!?])")
_SENTENCE_MARKS = ".!?,;:…"
_OPENING = "([{“‘«„"


class Joiner:
    """Lets a continuation through without what was ``delivered`` already; see above for ``exact``."""

    def __init__(self, delivered: str, exact: bool = False) -> None:
        self._delivered = delivered
        self._exact = exact
        self._held = ""
        self._decided = not delivered or (exact and _words(delivered) < 2)

    def feed(self, piece: str) -> str:
        """Text that can be passed on now; the beginning is held back until it is known not to be a repetition."""
        if self._decided:
            return piece
        self._held += piece
        if self._may_still_repeat():
            return ""
        return self._decide()

    def finish(self) -> str:
        """What was still held back when the continuation ended."""
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
    """Lets a continuation through whose speaker was given ``split_at_last_word(delivered)`` without the word.

    It is expected to begin with that word, so whatever follows the word in its text follows it in the reply.
    """

    def __init__(self, delivered: str) -> None:
        given, self._word = split_at_last_word(delivered)
        self._joiner = Joiner(given if self._word else delivered)
        self._held = ""
        self._met = not self._word
        self.failed = False
        """The continuation began with another word; nothing of it was passed on."""

    def feed(self, piece: str) -> str:
        return self._checked(self._joiner.feed(piece), ended=False)

    def finish(self) -> str:
        """What was still held back when the continuation ended."""
        return self._checked(self._joiner.finish(), ended=True)

    def _checked(self, text: str, ended: bool) -> str:
        if self._met or self.failed:
            return "" if self.failed else text
        self._held += text
        begun = self._held.lstrip()
        if len(begun) < len(self._word):
            # A fresh turn begins with a capital letter, wherever it goes on.
            self.failed = bool(ended or not _same_start(self._word, begun))
            return ""
        self._met = _same_start(begun, self._word)
        self.failed = not self._met
        return begun[len(self._word) :] if self._met else ""


def by_sentence(text: str) -> list[str]:
    """``text`` in pieces of at most one sentence mark each: Z-Waif speaks one sentence for each piece it is given, and
    loses count when two end in one."""
    pieces = [piece for piece in _BEHIND_MARK.split(text) if piece]
    if len(pieces) > 1 and pieces[-1].isspace():
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return pieces


class SurrogateGate:
    """Makes characters whole again that a server cut in two JSON escapes (half an emoji each)."""

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
    """What to give a speaker as the start of its turn, and the word it will then begin with.

    The word is empty where the text ends behind one: with a space or a mark, or in a script without spaces. There is
    nothing to give where it is the first, with whatever marks stand before it.
    """
    start = len(delivered)
    while start and _word_goes_on(delivered[:start]) and not unspaced(delivered[start - 1]):
        start -= 1
    if not any(c.isalnum() for c in delivered[:start]):
        start = 0
    return delivered[:start].rstrip(), delivered[start:]


# --- what was said again --------------------------------------------------------------------------------------------


def _without_echo(delivered: str, held: str) -> str:
    """``held`` without all that was ``delivered`` in front of it."""
    text, whole = held.lstrip(), delivered.strip()
    inside_a_word = text == held and _in_word(delivered[-1:])
    if not text.startswith(whole) or _words(whole) < (2 if inside_a_word else BEHIND_A_SPACE):
        return held
    rest = _behind(delivered, text[len(whole) :])
    return held if rest is None else rest


def _without_overlap(delivered: str, held: str) -> str | None:
    """What follows the longest beginning of ``held`` that ``delivered`` ends with; None when it has none."""
    text, core = held.lstrip(), delivered.rstrip()
    behind_a_space = text != held and core == delivered
    for size in range(min(len(core), len(text)), 0, -1):
        if core.endswith(text[:size]) and _is_said_again(core, text[:size], behind_a_space):
            rest = _behind(delivered, text[size:])
            if rest is not None:
                return rest
    return None


def _behind(delivered: str, rest: str) -> str | None:
    """What follows a repetition of ``delivered`` without its last spaces; None when a word goes on there after all."""
    spaces = delivered[len(delivered.rstrip()) :]
    if not spaces:
        return rest
    if rest.startswith(spaces):
        return rest[len(spaces) :]
    return None if _in_word(rest[:1]) and not unspaced(rest[:1]) else rest.lstrip(" ")


def _is_said_again(core: str, overlap: str, behind_a_space: bool) -> bool:
    """Whether an overlap is meant as one; ``core`` ends with it."""
    start = len(core) - len(overlap)
    if not any(c.isalnum() for c in overlap):
        return _is_open(overlap)
    if behind_a_space:
        return _words(overlap) >= BEHIND_A_SPACE
    if unspaced(overlap[0]):
        return len(overlap) >= UNSPACED
    return not (_word_goes_on(core[:start]) and _in_word(overlap[0])) or len(overlap) >= INSIDE_A_WORD


def _is_open(signs: str) -> bool:
    """Whether they end in the middle of an emoji of several characters: people and flags are put together so."""
    flags = len(signs) - len(signs.rstrip("".join(map(chr, range(0x1F1E6, 0x1F200)))))
    return signs[0] not in "\u200d\ufe0f" and (signs[-1] == _ZWJ or flags % 2 == 1)


# --- the space between ----------------------------------------------------------------------------------------------


def _with_one_space(delivered: str, held: str) -> str:
    text = held.lstrip(" ")
    if delivered[-1:].isspace() or not text:
        return text
    if text == held:
        return " " + held if _needs_space(delivered, text) else held
    return " " + text


def _needs_space(delivered: str, text: str) -> bool:
    """Whether ``text`` can only follow ``delivered`` with a space between."""
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
    """Whether it ends with a quotation, a bracket or an *action* that was closed."""
    last = delivered[-1]
    return last in ")]}”»" or (last in '"*' and delivered.count(last) % 2 == 0)


def _is_inside(delivered: str, text: str) -> bool:
    """``3.5``, ``10:30``, ``e.g.``, ``U.S.``, ``example.org``, ``:D``: whether the mark goes on without a space."""
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
    """Letters, digits, apostrophes, and the signs that some scripts put on letters."""
    if not c:
        return False
    return c.isalnum() or c in "'’_" or (unicodedata.category(c)[0] == "M" and not "\ufe00" <= c <= "\ufe0f")


def _word_goes_on(before: str) -> bool:
    """Whether a letter behind ``before`` belongs to a word in it; an apostrophe may also open a quotation."""
    last = before[-1:]
    return _in_word(before[-2:-1]) if last in ("'", "’") else _in_word(last)


def unspaced(c: str) -> bool:
    """Scripts that put no spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese."""
    return (
        "\u0e00" <= c <= "\u0eff"
        or "\u1000" <= c <= "\u109f"
        or "\u1780" <= c <= "\u17ff"
        or ("\u3040" <= c <= "\u30ff" or "\u3400" <= c <= "\u9fff" or "\uff66" <= c <= "\uff9d" or c >= "\U00020000")
    )


def _words(text: str) -> int:
    """Different words in it; in scripts without spaces, different characters."""
    found = set(_WORDS.findall(text))
    return len(found) + sum(len(set(word)) - 1 for word in found if unspaced(word[0]))


def _same_start(text: str, start: str) -> bool:
    return text[1:].startswith(start[1:]) and text[:1].casefold().startswith(start[:1].casefold())
