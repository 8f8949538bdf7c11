"""Removes from a model's output what must not be spoken: thoughts, control tokens, role labels.

Used for answers in the primary's place only; the primary's own text is passed on unchanged.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Generator, Iterable
from dataclasses import dataclass

from zwaif_hooks.reply.false_replies import ends_a_sentence

ROLES = ("assistant", "ai", "bot")
"""Labels that may precede a line, with a colon, besides the character's name."""
BARE_ROLE = "assistant"
"""A label that may also be a line of its own, as a chat template writes it."""
CHANNELS = ("analysis", "commentary")
"""Channels of gpt-oss that hold thoughts. llama.cpp passes their names on without the marks."""
SUSPICIOUS = tuple(
    opener + subject
    for opener, subject in itertools.product(
        ("", "ok, ", "okay, ", "okay so ", "okay, so ", "alright, ", "alright, so ", "hmm, ", "so ", "so, ", "first, "),
        ("the user", "we need to respond", "we need to answer", "we should respond"),
    )
)
"""How thoughts begin if the template opened them, so that only their end is marked. Held back until that is known."""
_THOUGHTS = "think|thinking|thought|reasoning"
_OPEN = re.compile(rf"<(?:{_THOUGHTS})>|\[THINK\]|◁think▷|<\|channel>(?:{_THOUGHTS})", re.IGNORECASE)
_CLOSE = re.compile(rf"</(?:{_THOUGHTS})>|\[/THINK\]|◁/think▷|<channel\|>", re.IGNORECASE)
_OVER = re.compile(rf"{_CLOSE.pattern}|assistantfinal|<\|channel\|>final<\|message\|>", re.IGNORECASE)
_BEGUN = re.compile(
    rf"\s*(?:(?P<mark>{_OPEN.pattern})|<\|channel\|>(?P<channel>{'|'.join(CHANNELS)})[^<]*<\|message\|>"
    rf"|(?:{'|'.join(CHANNELS)})(?=(?-i:[A-Z])))",
    re.IGNORECASE,
)
"""The beginning of a reply that starts with a thought."""
_LONGEST_END = 40
_TOKEN = re.compile(
    rf"{_OPEN.pattern}|{_CLOSE.pattern}|<\|[a-z_]{{1,30}}\|>|<｜[^｜<>\n]{{1,40}}｜>|</?s>|\[/?INST\]"
    r"|<(?:eos|bos|start_of_turn|end_of_turn)>|<\|turn>|<turn\|>",
    re.IGNORECASE,
)
_BEGUN_TOKEN = re.compile(
    r"(?:<(?:/?[a-z_]{0,14}\|?|\|[a-z_]{0,30}\|?|\|channel>[a-z]{0,8}|｜[^｜<>\n]{0,40}｜?)"
    r"|\[/?[a-z]{0,5}|◁/?[a-z]{0,5})\Z",
    re.IGNORECASE,
)
_NOTHING = frozenset({"<|message|>", "<|end_header_id|>", "<s>", "<bos>", "<|begin_of_text|>", "[/INST]"})
"""Tokens that are just removed. Any other token ends a reply that has text."""
_CHANNEL, _MESSAGE = "<|channel|>", "<|message|>"
_LONGEST_CHANNEL = 100
_MOST_MARKS = 8
"""Spaces and asterisks before a role label."""


@dataclass
class ThinkingHabit:
    """How one server or plugin marks its thoughts, as learned from its replies."""

    unopened: bool = False
    """Its last reply ended a thought without beginning one, because its model's template does that. The next reply is
    held back until it is known whether it is a thought."""


class SpokenTextFilter:
    """Passes on the spoken text, however the output is cut into pieces.

    Args:
        name: the character's name; as a label before a line it is removed.
        begun: the part of the reply that was delivered before, by anybody.
        habit: of the server or plugin; updated.
    """

    def __init__(self, name: str = "", begun: str = "", habit: ThinkingHabit | None = None) -> None:
        self.stopped = False
        """The model has ended its reply: what follows does not belong to it."""
        self._labels = tuple(dict.fromkeys(label.lower() for label in (name.strip(), *ROLES) if label))
        self._held = ""
        self._begun = bool(begun.strip())
        self._spoke = self._passed_on = False
        """There was text; that text was passed on already."""
        self._skips = False
        """Spaces are removed up to the next word."""
        self._marks = ""
        """Asterisks or underscores that were opened before a label and must be closed after it."""
        self._habit = habit or ThinkingHabit()
        self._unopened = False
        self._first = self._text if begun and not begun.endswith("\n") else self._line
        self._step = self._suspicion if self._habit.unopened else self._first if begun else self._begin
        self._out: list[str] = []

    def feed(self, piece: str) -> str:
        """Return the text to pass on now."""
        self._held += piece
        return self._run(ended=False)

    def finish(self) -> str:
        """Return what was held back when the output ended."""
        rest = self._run(ended=True)
        self._habit.unopened = self._unopened
        return rest

    def _run(self, ended: bool) -> str:
        while self._held and not self.stopped:
            if self._skips:
                self._held = self._held.lstrip(" \t" if self._spoke else None)
                self._skips = not self._held
            if not self._held or not self._step(ended):
                break
        out, self._out = "".join(self._out), []
        self._passed_on = self._spoke
        return out

    # Each step consumes some of the held text, or sets another step, or returns False: more text must come.

    def _begin(self, ended: bool) -> bool:
        text = self._held.lstrip()
        if not ended and (not text or any(begins(text, start) for start in (*CHANNELS, *SUSPICIOUS))):
            return False
        for channel in CHANNELS:
            rest = text[len(channel) :]
            if text.startswith(channel) and not (rest or ended):
                return False
            if text.startswith(channel) and rest[:1].isupper():
                self._held, self._step = rest, self._thought
                return True
        self._step = self._suspicion if text.lower().startswith(SUSPICIOUS) else self._line
        return True

    def _suspicion(self, ended: bool) -> bool:
        """Decide: with an end of a thought it was a thought, without one it is the reply."""
        over = _OVER.search(self._held)
        if over is None:
            self._step = self._first if ended else self._suspicion
            return ended
        self._unopened = True
        return self._goes_on_behind(over.end())

    def _thought(self, ended: bool) -> bool:
        over = _OVER.search(self._held)
        if over is None:
            self._held = "" if ended else self._held[-_LONGEST_END:]
            return False
        return self._goes_on_behind(over.end())

    def _channel(self, ended: bool) -> bool:
        name, message, rest = self._held.partition(_MESSAGE)
        if not message and len(name) < _LONGEST_CHANNEL and not ended:
            return False
        self._held = rest
        self._skips = True
        self._step = self._line if name.strip().startswith("final") else self._thought
        return True

    def _goes_on_behind(self, end: int) -> bool:
        self._held = self._held[end:]
        self._skips, self._step = True, self._line
        return True

    def _line(self, ended: bool) -> bool:
        """Handle the start of a line, where a role label may be."""
        text = self._held.lstrip(" \t*_")
        lead = self._held[: len(self._held) - len(text)]
        if not text and not ended and len(lead) < _MOST_MARKS:
            return False
        for label in self._labels:
            behind = self._behind(label, text, ended)
            if behind is None:
                return False
            if behind:
                self._marks = "".join(sign for sign in lead if sign in "*_")
                self._held = text[behind:]
                self._skips, self._step = not self._marks, self._closed if self._marks else self._line
                return True
        self._step = self._text
        return True

    def _behind(self, label: str, text: str, ended: bool) -> int | None:
        """Return where the text after this label starts; 0 if there is no label, None if more text must come."""
        if not ended and begins(text, label):
            return None
        if text[: len(label)].lower() != label:
            return 0
        rest = text[len(label) :]
        if label == BARE_ROLE and rest.startswith(("\n", "\r", "<|")):
            return len(label)
        sign = rest.lstrip(" *_")
        if len(rest) - len(sign) > _MOST_MARKS:
            return 0
        if not sign or (label == BARE_ROLE and rest == "<"):
            return 0 if ended else None
        return len(text) - len(sign) + 1 if sign[0] in ":：" else 0

    def _closed(self, ended: bool) -> bool:
        """Remove the marks that close after a label and its colon."""
        if not ended and begins(self._held, self._marks):
            return False
        self._held = self._held.removeprefix(self._marks)
        self._skips, self._step = True, self._line
        return True

    def _text(self, ended: bool) -> bool:
        token = _TOKEN.search(self._held)
        new_line = self._held.find("\n") + 1
        if new_line and (token is None or new_line <= token.start()):
            self._say(new_line)
            self._step = self._line
        elif token is not None:
            self._say(token.start())
            self._held = self._held[len(token[0]) :]
            self._take(token[0])
        else:
            begun = None if ended else _BEGUN_TOKEN.search(self._held)
            self._say(begun.start() if begun is not None else len(self._held))
            return False
        return True

    def _take(self, token: str) -> None:
        self._skips = True
        if _OPEN.fullmatch(token):
            self._step = self._thought
        elif _CLOSE.fullmatch(token):
            # Everything before it was a thought: drop what was not passed on yet.
            self._out.clear()
            self._unopened, self._spoke, self._step = True, self._passed_on, self._line
        elif token == _CHANNEL:
            self._step = self._channel
        elif (self._begun or self._spoke) and token not in _NOTHING:
            self.stopped, self._held = True, ""
        else:
            self._step = self._line

    def _say(self, length: int) -> None:
        self._out.append(self._held[:length])
        self._spoke = self._spoke or bool(self._held[:length].strip())
        self._held = self._held[length:]


def split_thoughts(text: str) -> tuple[str, str]:
    """Return the reply after the thoughts in a text, and what must be added before a reply that is still to come.

    If a thought broke off inside a sentence, the sentence is ended, too: Z-Waif speaks whole sentences.
    """
    begun = _BEGUN.match(text)
    if begun is None:
        return text, ""
    over = _OVER.search(text, begun.end())
    if over is not None:
        rest = text[over.end() :]
        return split_thoughts(rest) if rest.strip() else ("", "" if rest else "\n\n")
    mark = _end_of(begun)
    there = next(length for length in range(len(mark) - 1, -1, -1) if text.endswith(mark[:length]))
    if there and not mark[0].isalpha():
        return "", f"{mark[there:]}\n\n"
    return "", f"{'' if ends_a_sentence(text) else '...'}\n{mark}\n\n"


def _end_of(begun: re.Match[str]) -> str:
    """Return the mark that ends this thought."""
    opened = begun["mark"]
    if not opened:
        return f"{_CHANNEL}final{_MESSAGE}" if begun["channel"] else "assistantfinal"
    return "<channel|>" if opened.startswith("<|") else f"{opened[0]}/{opened[1:]}"


def begins(text: str, whole: str) -> bool:
    """Return whether ``text`` may become ``whole``, ignoring case."""
    return len(text) < len(whole) and whole.startswith(text.lower())


def spoken(
    pieces: Iterable[str], name: str = "", begun: str = "", habit: ThinkingHabit | None = None
) -> Generator[str, None, None]:
    """Yield the spoken text of ``pieces``, and close ``pieces`` in the end."""
    ears = SpokenTextFilter(name, begun, habit)
    try:
        for piece in pieces:
            if text := ears.feed(piece):
                yield text
            if ears.stopped:
                break
        if text := ears.finish():
            yield text
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()
