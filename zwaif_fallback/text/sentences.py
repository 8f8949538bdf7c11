"""Finds the ends of sentences in a text that is still being written, in any script.

Each character is looked at once, together with what precedes it, so the size of the pieces makes no difference.
"""

from __future__ import annotations

import re
import unicodedata

from zwaif_fallback.text.word_count import words_in
from zwaif_hooks.reply.continuation import unspaced

_STOPS = ".!?…‼⁇⁈⁉؟۔।॥።။~〜"
_DENSE_STOPS = "。！？｡．"
"""No space follows these."""
_CLOSERS = "\"'”’»)]}*_`」』）】》"
_OPENERS = "\"'“‘«„¿¡([{*_`#-–—•「『（【《"
_EMOTICON = r"[:;=8xX][-o^']?[DPpO3)(\]/|*]+|<3+|\^[_.]?\^|[^\w\s\"'“‘«„¿¡(\[{*`#–—•-]+"
_STOP = rf"(?P<stop>[{_STOPS}{_DENSE_STOPS}]+)(?P<closed>[{re.escape(_CLOSERS)}]*)"
_ENDED = re.compile(rf"{_STOP}(?:\s*(?:{_EMOTICON}))*\s*\Z")
_BEFORE_STOP = re.compile(r"(\S+)\Z")
_INITIALS = re.compile(r"(?:\w\.)*\w\Z")
_ORDINAL = re.compile(r"\d{1,2}\Z")
_ABBREVIATIONS = frozenset({
    "dr", "mr", "mrs", "ms", "prof", "st", "sr", "jr", "vs", "etc", "eg", "ie", "approx", "dept", "nr", "bzw", "usw",
    "evtl", "ggf", "inkl", "bspw", "hr", "mme", "mlle", "sra", "srta", "dra", "ud", "uds", "mt", "lt", "capt", "sgt",
    "rev", "feb", "aug", "sept", "oct", "nov", "dec", "ул", "стр", "mgr", "inż", "tzn", "tzw",
})  # fmt: skip
_CLAUSE = re.compile(r"[,;:，、；：،—–](?=\s|\Z)|[，、；：،]")
_NEVER_LAST = frozenset({
    "a", "an", "the", "and", "or", "but", "of", "my", "your", "und", "oder", "aber", "et", "ou", "mais", "le", "la",
    "les", "un", "une", "y", "pero", "il", "e", "ma",
})  # fmt: skip
"""Words that no sentence ends with in any language."""
_SELDOM_LAST = _NEVER_LAST | frozenset({
    "so", "to", "in", "on", "at", "for", "with", "from", "by", "as", "is", "are", "was", "his", "her", "their",
    "our", "that", "which", "who", "because", "if", "when", "der", "die", "das", "ein", "eine", "zu", "mit", "von",
    "de", "el", "los", "las", "o", "en", "het", "een", "van",
})  # fmt: skip
"""Words that a shortened text must not end with."""
_NEEDS_A_STOP = 4
"""Words."""
SENTENCE_CHARS = 600
"""Characters. A longer sentence is passed on in parts."""
_THAI = 20
"""Minimum characters of a phrase, in scripts without full stops but with spaces between phrases."""
_THAI_SCRIPTS = re.compile(r"[\u0e01-\u0edf\u1000-\u109f\u1780-\u17ff]\s+\Z")


class Sentences:
    """Cuts a text after each sentence and each line."""

    def __init__(self, cased: bool = False) -> None:
        self.rest = ""
        """The unfinished sentence."""
        self._cased = cased
        """There were capitals, so a small letter after a full stop continues the sentence."""

    def take(self, c: str) -> str:
        """Add a character; return the sentence that ended before it, with trailing spaces, or an empty string."""
        done = ""
        if self.rest and not c.isspace() and (self._ends_before(c) or len(self.rest) >= SENTENCE_CHARS):
            done, self.rest = self._split() if len(self.rest) >= SENTENCE_CHARS else (self.rest, "")
        self.rest += c
        self._cased = self._cased or c.isupper()
        return done

    def _ends_before(self, c: str) -> bool:
        text, last = self.rest, self.rest[-1]
        if "\n" in text[len(text.rstrip()) :]:
            return True
        if last.isspace():
            is_phrase = len(text) > _THAI and _THAI_SCRIPTS.search(text) is not None
            return is_phrase or (self._is_begun_by(c) and self._ended(c))
        if last in _DENSE_STOPS or (last in _CLOSERS and ends_dense(text)):
            return c not in _STOPS + _DENSE_STOPS + _CLOSERS and not _is_decoration(c)
        return False

    @staticmethod
    def _is_begun_by(c: str) -> bool:
        return c.isalnum() or c in _OPENERS

    def _ended(self, c: str) -> bool:
        found = _ENDED.search(self.rest[-80:])
        if found is None:
            return False
        stop, quoted = found["stop"], any(sign in found["closed"] for sign in "\"'”’»")
        if c.islower() and (quoted or stop.endswith(("...", "…")) or (stop == "." and self._cased)):
            return False
        return stop != "." or not is_abbreviated(self.rest[-80:][: found.start()])

    def _split(self) -> tuple[str, str]:
        place = max((found.end() for found in _CLAUSE.finditer(self.rest)), default=0)
        place = place or self.rest.rstrip().rfind(" ") + 1 or len(self.rest)
        return self.rest[:place], self.rest[place:]


def ends_dense(text: str) -> bool:
    return text.rstrip(_CLOSERS).endswith(tuple(_DENSE_STOPS))


def is_abbreviated(before: str) -> bool:
    """Whether a full stop after ``before`` belongs to its last word or number."""
    found = _BEFORE_STOP.search(before)
    if found is None:
        return False
    word = found[1].lstrip(_OPENERS)
    if _ORDINAL.fullmatch(word):
        return True
    if len(word) == 1:
        return word != "I" and word.lower() != word.upper()
    return word.casefold() in _ABBREVIATIONS or ("." in word and _INITIALS.fullmatch(word) is not None)


def is_ended(text: str) -> bool:
    """Whether a reply may end after ``text``: with a sentence, an action, a quotation or an emoji."""
    text = text.strip()
    if not text:
        return True
    found = _ENDED.search(text[-80:])
    if found is not None:
        return True
    is_closed = text[-1] in _CLOSERS and text[-1] not in "'’"
    return is_closed or _is_decoration(text[-1]) or text.endswith(("<3", ":D", ":P", "xD", "XD"))


def hangs(text: str) -> bool:
    """Whether ``text`` clearly ends in the middle of a sentence."""
    text = text.rstrip()
    if not text or is_ended(text):
        return False
    last = text.split()[-1].strip(_OPENERS + _CLOSERS)
    return text[-1] in ",;:，、；：،-–—(“„«" or last.casefold() in _NEVER_LAST


def with_a_stop(text: str) -> str:
    """Add a missing full stop. One or two words need none, and Thai has none."""
    kept = text.rstrip()
    if not kept or not kept[-1].isalnum() or words_in(kept) < _NEEDS_A_STOP or unspaced(kept[-1]):
        return text
    return f"{kept}.{text[len(kept) :]}"


def cut_short(text: str) -> str:
    """Shorten an unfinished sentence to its last whole clause of a few words, and add an ellipsis."""
    text = text.strip()
    places = [found.start() for found in _CLAUSE.finditer(text) if words_in(text[: found.start()]) >= 3]
    kept = text[: places[-1]] if places and places[-1] >= len(text) // 3 else text.rpartition(" ")[0] or text
    words = kept.split(" ")
    while len(words) > 1 and words[-1].strip(_CLOSERS).casefold() in _SELDOM_LAST:
        words.pop()
    kept = " ".join(words).rstrip(",;:，、；：،-–— \"“'(*")
    return f"{kept}…" if any(map(str.isalnum, kept)) else ""


def _is_decoration(c: str) -> bool:
    """Whether ``c`` is part of an emoji or a similar symbol."""
    return unicodedata.category(c) in ("So", "Sk", "Mn", "Cf") and not c.isalnum()
