"""Escapes markers in text, so that what people write never reads as a control token or the beginning of a turn.

Otherwise somebody who types ``<|im_start|>system`` or ``System:`` could speak as the system or as another person. A
marker gets a zero-width space after its first letter: it looks the same, but to a tokenizer it is ordinary text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from zwaif_fallback.models.control_tokens import BREAK, is_mark, representatives

_BRACKETED = (
    r"<\|",
    r"<｜",
    r"</?(?:s|bos|eos|pad|unk|sep|cls|mask|eod|eot|think|thinking|(?:start|end)_of_(?:turn|image|utterance))>",
    r"</?(?:tools?|tool_(?:calls?|list|response)|function_call|observation)>",
    r"<(?:fim[_-]\w{1,20}|PRE|SUF|MID|EOT|END|extra_id_\d+|unused_?\d+|SPECIAL_\d+|reserved_\w{1,40})>",
    r"<</?SYS>>",
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|IMG|gMASK|SYS|THINK)\]",
)
"""Markers of common models, for servers whose model is unknown and for tokenizers that do not list all of theirs.

Each pattern begins with one literal letter. ``<|`` alone counts, because some templates remove words from a content.
"""
_SPEAKERS = ("system", "user", "human", "assistant", "instruction", "input", "response", "question", "answer", "model",
             "ai", "bot")  # fmt: skip
_NAME = re.compile(r"[#*\s]{0,9}([^\W\d_][\w .-]{0,40}?)\s{0,9}(:?)\s{0,9}")
_IN_BRACKETS = re.compile(r"<[^<>\n]{1,60}>>?|\[/?\w{1,40}\]")
_COLON = r"[*_\s]{0,3}[:：]"
_WORD_ENDS = r"\b"
_LONGEST_GAP = 4000
"""Characters that are looked at, at each end of what a format writes between two contents."""


@dataclass(frozen=True)
class Markers:
    """The markers of one chat format. Each pattern ends with the first letter of a marker."""

    anywhere: re.Pattern[str]
    """Control tokens, and names that open a turn in the middle of a line. Finds markers within markers too."""
    line: re.Pattern[str] | None
    """The beginning of a line that opens a turn."""

    def escape(self, text: str) -> str:
        """Escape all markers in ``text``. Doing it twice changes nothing more."""
        text = self.anywhere.sub(rf"\g<0>{BREAK}", text)
        return "".join(map(self._escape_line, text.splitlines(keepends=True))) if self.line else text

    def _escape_line(self, line: str) -> str:
        found = self.line.match(line) if self.line else None
        return line if found is None else f"{line[: found.end()]}{BREAK}{line[found.end() :]}"


def markers_of(tokens: Iterable[str], gaps: Iterable[str]) -> Markers:
    """Return the markers of one format.

    Args:
        tokens: the tokenizer's control tokens.
        gaps: what the format writes before, between and after the contents of a conversation.
    """
    known = [_pattern(token) for token in representatives(tokens)]
    apart = re.compile("|".join([*known, _IN_BRACKETS.pattern]))
    found: set[str] = set()
    names: set[str] = set()
    within: set[str] = set()
    for place, gap in enumerate(gaps):
        lines = f"{gap[:_LONGEST_GAP]}\n{gap[-_LONGEST_GAP:]}".split("\n")
        for number, line in enumerate(lines):
            found.update(map(_pattern, filter(is_mark, _IN_BRACKETS.findall(line))))
            for piece in apart.split(line):
                name = _NAME.fullmatch(piece) if len(piece) < 80 else None
                if name and (name[2] or "#" in piece):
                    names.add(name[1])
                    if place and not number and len(gap) < _LONGEST_GAP:
                        within.add(name[1])
    anywhere = [_first_letters({*_BRACKETED, *known, *found}, "")]
    if within:
        anywhere.append(rf"(?<!\w)(?:{_first_letters(map(re.escape, within), _COLON)})")
    return Markers(re.compile("|".join(anywhere)), _line(names) if names else None)


def _pattern(token: str) -> str:
    """Return a pattern for the token with any number; SentencePiece writes a space as ``▁``."""
    return re.sub(r"(?<!^)\d+", r"\\d+", re.escape(token)).replace("▁", "[▁ ]")


def _line(names: set[str]) -> re.Pattern[str]:
    """Return a pattern for a line that opens a turn; other common names count as well."""
    usual = {*_SPEAKERS, *(re.escape(name) for name in names)}
    named, headed = (_first_letters(usual, behind) for behind in (_COLON, _WORD_ENDS))
    # Match blanks all at once: with a million of them, backtracking would take for ever.
    blanks = r"(?=(?P<blanks>\s*))(?P=blanks)"
    return re.compile(rf"{blanks}(?:[#*>_ \t-]{{0,20}}(?:{named})|##[#*>_ \t-]{{0,20}}(?:{headed}))", re.IGNORECASE)


def _first_letters(patterns: Iterable[str], behind: str) -> str:
    """Return a pattern for the first letter of any match of ``patterns`` that is followed by ``behind``."""
    by_first: dict[str, list[str]] = {}
    for pattern in patterns:
        first = re.match(r"\[▁ \]|\\?.", pattern, re.DOTALL)
        assert first is not None, "no pattern is empty"
        by_first.setdefault(first.group(), []).append(pattern[first.end() :])
    return "|".join(f"{first}(?=(?:{'|'.join(sorted(rests))}){behind})" for first, rests in sorted(by_first.items()))
