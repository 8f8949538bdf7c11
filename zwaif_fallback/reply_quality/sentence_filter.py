"""Checks a small model's reply sentence by sentence, before it is spoken, and ends it at the usual length.

A :class:`SentenceFilter` finds loops, a wrong name, words of the user and the like; the caller may then try again. The
checks are heuristics, so they apply to the local model's words only, never to a server's.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache

from zwaif_fallback.languages import LANGUAGES
from zwaif_fallback.reply_quality import identity, loops
from zwaif_fallback.reply_quality.expected_reply import A_FEW, LONG_SENTENCE, Expected
from zwaif_fallback.text.sentences import Sentences, cut_short, hangs, is_ended, with_a_stop
from zwaif_fallback.text.word_count import words_in
from zwaif_hooks.messages import Sampling
from zwaif_hooks.reply.continuation import unspaced

SENTENCE_WORDS = 70
"""Words. A longer sentence is ended, unless the usual reply is long."""
_LONG_WORD = 40
"""Characters. A longer word is probably a loop."""
CALM = 0.4
"""Temperature. Above it, another attempt is cooler; below, a cooler one would say nearly the same."""
LOOP = "it repeats itself"
ENDLESS = "a sentence does not end"
SAID_BEFORE = "it repeats an earlier reply"
OTHERS = "somebody else speaks"
MACHINE = "it claims to be a language model"
NAME = "it takes another name"
PROMPT = "it recites its prompt"
TO_HERSELF = "it talks to the companion"
NO_ANSWER = "it does not answer the question"
ASSISTANT = "it sounds like an assistant"
ECHO = "it repeats the user"
_HARMLESS = frozenset({SAID_BEFORE, TO_HERSELF, NO_ANSWER, ASSISTANT, ECHO})
_NO_BRACKETS = str.maketrans("", "", "()")
"""A prompt's notes are in brackets, and longer than an action."""
_NOTE = re.compile(r"\s*\(\s*(?:[\w ]{1,20}:|the|it is|keep in mind|answer|note|reply)\b", re.IGNORECASE)
_THE_TIME = re.compile(r"\W*the current time now\b", re.IGNORECASE)
"""Z-Waif's own phrase, which a reply would not use."""
_FENCE = "```"


class SentenceFilter:
    """Filters one attempt at a reply, whatever pieces its text comes in.

    Args:
        begun: what has been said of the reply so far.
        tries_left: attempts after this one; without any, faulty sentences are repaired or left out instead of ending
            the reply.
    """

    def __init__(self, wanted: Expected, begun: str = "", tries_left: int = 0) -> None:
        self.ended = False
        """The reply is over; stop the model."""
        self.fault = ""
        """Why the reply was ended; empty if nothing was wrong."""
        self.spare = ""
        """A refused but harmless sentence, in case no attempt is better."""
        self.thrown_away = ""
        """Text that was not passed on, for the log."""
        self._wanted = wanted
        self._tries_left = tries_left
        self._cutter = Sentences(cased=any(map(str.isupper, begun)))
        before = Sentences()
        self._said = [loops.as_words(s) for s in filter(None, map(before.take, begun))]
        """The sentences so far, normalised."""
        self._open = before.rest if not is_ended(before.rest) else ""
        """The beginning of the current sentence, if it was passed on already."""
        if before.rest and not self._open:
            self._said.append(loops.as_words(before.rest))
        self._text = begun
        self._words = words_in(begun)
        self._in_code = begun.count(_FENCE) % 2 == 1
        self._in_word = 0
        """Characters of the current word."""
        self._new_line = not begun.strip() or begun.endswith("\n")
        self._out: list[str] = []
        self._spaces = ""
        """Blanks after what was passed on; a reply does not end with them."""

    @property
    def has_said_enough(self) -> bool:
        """Whether the reply is long enough to end here."""
        return self._words >= max(A_FEW, self._wanted.words // 3) and not self._open

    def feed(self, piece: str) -> str:
        """Take in text; return the sentences that can be passed on now."""
        for c in piece:
            if self.ended:
                self.thrown_away += c
                continue
            if done := self._cutter.take(c):
                self._sentence(done)
            self._in_word = self._in_word + 1 if c.isalnum() else 0
            if not self.ended and not self._in_code and (unspaced(c) or self._in_word % _LONG_WORD == 0):
                self._look_at_the_rest()
        return self._taken()

    def finish(self, out_of_tokens: bool = False) -> str:
        """The text has ended; return what was held back."""
        rest, self._cutter = self._cutter.rest, Sentences()
        if self.ended or not rest:
            return self._taken()
        unfinished = (out_of_tokens and not is_ended(rest)) or hangs(rest)
        if self._in_code:
            self._pass_on(rest)
        elif not unfinished:
            self._sentence(with_a_stop(rest) if self._is_prose(rest) else rest)
        elif self._words and not self._open:
            self.thrown_away += rest
        else:
            self._sentence(self._cut(rest))
        if self._in_code:
            self._out.append(f"\n{_FENCE}")
        return self._taken()

    def hurry(self) -> str:
        """Return the words of an unfinished sentence that takes long, unless something is wrong with them."""
        rest = self._cutter.rest
        text = rest[: len(rest.rstrip()) - len(rest.split()[-1])] if rest.strip() else ""
        if self.ended or self._in_code or not any(map(str.isalnum, text)) or self._fault_of(self._open + text, text)[0]:
            return ""
        self._cutter.rest = rest[len(text) :]
        self._open += text
        self._pass_on(text)
        return self._taken()

    def broken_off(self) -> str:
        """Return what was held back, for the next tier to continue."""
        rest, self._cutter = self._cutter.rest, Sentences()
        return self._taken() + self._spaces + rest

    def _taken(self) -> str:
        out, self._out = "".join(self._out), []
        return out

    def _cut(self, rest: str) -> str:
        lead = rest[: len(rest) - len(rest.lstrip())]
        return lead + cut_short(rest)

    def _sentence(self, text: str) -> None:
        """Handle one whole sentence or line; code is passed on as it is."""
        if text.lstrip().startswith(_FENCE):
            self._in_code = not self._in_code
            self._pass_on(text)
        elif self._in_code or not any(map(str.isalnum, text)):
            self._pass_on(text)
        else:
            self._judge(text)
        self._new_line = text.endswith("\n")

    def _judge(self, text: str) -> None:
        whole = self._open + text
        fault, remedy = self._fault_of(whole, text)
        if fault:
            self._refuse(fault, text, remedy)
            return
        if self._is_beyond(words_in(text)):
            self._end("", text)
            return
        self._said.append(loops.as_words(whole))
        self._open = "" if is_ended(text) or text.endswith("\n") else whole
        self._pass_on(text)
        is_a_line = text.endswith("\n") and not is_ended(text)
        if self._wanted.words and self._words >= self._wanted.words and not self._open and not is_a_line:
            self.ended = True

    def _fault_of(self, whole: str, text: str) -> tuple[str, str]:
        """Return what is wrong with this sentence, and what could be said instead."""
        wanted, words = self._wanted, loops.as_words(whole)
        if loops.is_said_again(whole, self._said) and not self._is_verse(text):
            return LOOP, ""
        if not wanted.words:
            return "", ""
        if loops.is_a_pattern(whole, self._said) and "\n" not in self._text + text:
            return LOOP, ""
        if words in wanted.earlier and self._tries_left > 1:
            return SAID_BEFORE, ""
        if not self._open and identity.is_a_turn_of_others(text, wanted.user, self._new_line):
            return OTHERS, ""
        if not self._text.strip() and (label := identity.LABEL.match(text)):
            return OTHERS, text[label.end() :]
        if words in _instructions():
            return PROMPT, ""
        if _THE_TIME.match(text):
            return PROMPT, ""
        is_a_note = words_in(text) > LONG_SENTENCE or _NOTE.match(text)
        if text.lstrip().startswith("(") and not wanted.brackets and is_a_note:
            return PROMPT, with_a_stop(text.translate(_NO_BRACKETS))
        if wanted.is_forgetful and not self._text.strip() and words_in(text) >= A_FEW:
            fault, remedy = self._fault_of_the_first(text)
            if fault:
                return fault, remedy
        if not wanted.may_be_an_ai and identity.is_an_ai(whole):
            return MACHINE, ""
        found = identity.wrong_name(whole, wanted.names, wanted.user, wanted.card)
        if found is not None:
            is_in_text = found.start(found.lastgroup or 0) >= len(self._open)
            mended = (
                identity.renamed(whole, found, wanted.name)[len(self._open) :] if wanted.name and is_in_text else ""
            )
            again = identity.wrong_name(self._open + mended, wanted.names, wanted.user, wanted.card)
            return NAME, mended if again is None else ""
        return "", ""

    def _fault_of_the_first(self, text: str) -> tuple[str, str]:
        """Return a fault of the first sentence that shows a forgotten card. Most are allowed on the last attempt."""
        wanted, addressed = self._wanted, identity.without_address(text, self._wanted.names)
        if len(addressed) < len(text.strip()):
            return TO_HERSELF, addressed[:1].upper() + addressed[1:]
        if not self._tries_left:
            return "", ""
        if loops.as_words(text) in wanted.asked:
            return ECHO, ""
        if identity.sounds_like_an_assistant(text):
            return ASSISTANT, ""
        if wanted.answers and wanted.answers.isdisjoint(re.findall(r"[^\W_]+", text.casefold())):
            return NO_ANSWER, ""
        return "", ""

    def _is_verse(self, text: str) -> bool:
        """Whether this is a refrain: a line becomes a loop only the third time in a row."""
        return text.endswith("\n") and not is_ended(text) and self._said[-2:] != [loops.as_words(text)] * 2

    def _is_prose(self, rest: str) -> bool:
        """Whether the text is prose with full stops, not a song or a list."""
        return bool(self._wanted.words) and "\n" not in self._text + rest and (self._text + rest).lstrip()[:1].isupper()

    def _look_at_the_rest(self) -> None:
        """End a sentence while it is being written if it loops or gets too long."""
        rest = self._cutter.rest
        turn = loops.first_turn((self._text + rest)[-loops.LOOKED_AT :]) if len(rest) > 1 else None
        if turn is not None:
            kept = len(rest) - (len((self._text + rest)[-loops.LOOKED_AT :]) - len(turn))
            self._refuse(LOOP, rest, self._cut(rest[:kept]) if kept > 0 else "")
        elif self._wanted.words and not self._open:
            words = words_in(rest)
            if self._is_beyond(words):
                self._end("", rest)
            elif words > max(SENTENCE_WORDS, 2 * self._wanted.words):
                self._refuse(ENDLESS, rest, self._cut(rest))

    def _is_beyond(self, words: int) -> bool:
        """Whether ``words`` more would be too many, and enough has been said without them."""
        most = 2 * self._wanted.words
        return bool(self._wanted.words) and self._words >= most // 4 and self._words + words > most and not self._open

    def _refuse(self, fault: str, text: str, remedy: str) -> None:
        """End before ``text``. Without another attempt and with too little said, say ``remedy`` instead."""
        if self._tries_left or self.has_said_enough:
            self.spare = text.strip() if fault in _HARMLESS else ""
            self._end(fault, text)
            return
        self.thrown_away += text
        if remedy:
            self._said.append(loops.as_words(self._open + remedy))
            self._open = ""
            self._pass_on(remedy)
        if fault not in (NAME, MACHINE, PROMPT, TO_HERSELF):
            self._end(fault, "")

    def _end(self, fault: str, text: str) -> None:
        self.ended = True
        self.fault = fault
        self.thrown_away += text

    def _pass_on(self, text: str) -> None:
        self._words += words_in(text)
        self._text = (self._text + text)[-loops.LOOKED_AT :]
        kept = text.rstrip()
        self._out.append(self._spaces + kept)
        self._spaces = text[len(kept) :]


@lru_cache(maxsize=1)
def _instructions() -> frozenset[str]:
    """Return the possible last lines of a prompt (:func:`loops.as_words`)."""
    lines = (language.ask.format(length) for language in LANGUAGES.values() for length in language.lengths)
    return frozenset(map(loops.as_words, lines))


def another_try(sampling: Sampling, attempt: int, fault: str) -> Sampling:
    """Return other parameters for another attempt: usually cooler, but hotter against low heat or repetition."""
    temperature = sampling.temperature or 0.0
    seed = None if sampling.seed is None else sampling.seed + 1 + attempt
    if fault != SAID_BEFORE and temperature > CALM:
        return replace(sampling, temperature=min(temperature, 0.8) * 0.6, seed=seed)
    penalty = (sampling.repetition_penalty or 1.0) + (0.05 if fault in (LOOP, SAID_BEFORE) else 0.0)
    return replace(sampling, temperature=temperature + 0.15, seed=seed, repetition_penalty=penalty)
