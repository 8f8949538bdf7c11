"""The tier of the local model: loads it, generates a reply, and tries again if the reply is bad or the worker dies."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial

from zwaif_fallback.answering.contracts import Caption, Say, TextGenerator
from zwaif_fallback.answering.pieces import Counted, one_line, word_stops
from zwaif_fallback.answering.repeats import may_repeat, repeats
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel
from zwaif_fallback.errors import FallbackError, WorkerDied, WorkerHung
from zwaif_fallback.local.sampling_params import hotter, is_small, sampling_for
from zwaif_fallback.local.single_flight import SingleFlight
from zwaif_fallback.prompt import formats
from zwaif_fallback.prompt.writer import PromptWriter
from zwaif_fallback.reply_quality import sentence_filter
from zwaif_fallback.reply_quality.expected_reply import expected
from zwaif_fallback.reply_quality.sentence_filter import SentenceFilter
from zwaif_fallback.reply_stream import ReplyStream
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.reply.spoken_text import spoken
from zwaif_hooks.stream import CancelScope

ATTEMPTS = 3
"""Generations for one reply: the first, and others where it is faulty or repeats a recent one."""
MORE_FAVOUR = 1.0
"""Added to the bias towards words of the answer when an attempt had none of them."""
HELD_SECONDS = 4.0
"""How long a sentence is waited for from its first word; after that its words are passed on as they are generated."""

_logger = logging.getLogger("zwaif")


class LocalTier:
    """Answers with the local model.

    Args:
        model: generates the text.
        load: loads the model if necessary (blocking) and returns it. A load goes on when its reply is cancelled.
        prompts: writes the prompts.
        say: prints a line for the user.
        temperature: the user's own temperature; 0 to choose one.
        caption: describes a picture in words, if it can.
    """

    def __init__(
        self,
        model: TextGenerator,
        load: Callable[[], LoadedModel],
        prompts: PromptWriter,
        say: Say,
        temperature: Callable[[], float] = float,
        caption: Caption = lambda request: request,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._load = SingleFlight(load)
        self._prompts = prompts
        self._say = say
        self._temperature = temperature
        self._caption = caption
        self._clock = clock

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        loaded = self._load.result(scope)
        request = self._caption(request)  # after the load: the model that replies has the first claim on memory
        stats: list[GenerationStats] = []
        pieces = ReplyStream(partial(self._through_a_restart, request, begun, loaded, stats))
        return loaded.info.name, Counted(pieces, stats)

    def _through_a_restart(
        self, request: ChatRequest, begun: str, loaded: LoadedModel, stats: list[GenerationStats], scope: CancelScope
    ) -> Generator[str, None, None]:
        """If the worker dies, load the model again and continue from the last character; once."""
        text = ""
        try:
            with contextlib.closing(self._attempts(request, begun, loaded, stats, scope)) as pieces:
                for piece in pieces:
                    text += piece
                    yield piece
            return
        except (WorkerDied, WorkerHung) as error:
            self._say(f"{error} Starting it again.")
        yield from self._attempts(request, begun + text, self._load.result(scope), stats, scope)

    def _attempts(
        self, request: ChatRequest, begun: str, loaded: LoadedModel, stats: list[GenerationStats], scope: CancelScope
    ) -> Generator[str, None, None]:
        """Generate until a reply repeats no recent one and passes the sentence filter from its first sentence.

        Text is held back only while it could still become a repeat. A model that spent all its tokens thinking is asked
        again as if it had finished thinking; after a faulty sentence the next attempt continues from before it.
        """
        wanted = expected(request, knows_its_card=not is_small(loaded))
        hold = _Hold(self._clock)
        generation, passed, spare = self._generation(request, begun, loaded), "", ""
        for tries_left in reversed(range(ATTEMPTS)):
            attempt, held = ATTEMPTS - 1 - tries_left, ""
            reply = SentenceFilter(wanted, begun + passed, tries_left)
            stats.append(GenerationStats())
            generated = self._model.generate(generation, stats[-1])
            scope.on_cancel(getattr(generated, "close", bool))
            heard = spoken(generated, request.persona.char_name, begun + passed)
            with contextlib.closing(one_line(heard, request, begun + passed)) as pieces:
                for text in _in_sentences(pieces, reply, stats[-1], hold):
                    held += text
                    if passed or not may_repeat(begun + held, request.recent_replies):
                        yield held
                        passed, held = passed + held, ""
            spare = spare or reply.spare
            if reply.thrown_away.strip():
                _logger.debug("not said (%s): %r", reply.fault or "long enough", reply.thrown_away)
            if reply.fault and tries_left and not reply.has_said_enough:
                sampling = sentence_filter.another_try(generation.sampling, attempt, reply.fault)
                favour = generation.favour + (MORE_FAVOUR if reply.fault == sentence_filter.NO_ANSWER else 0.0)
                anew = self._generation(request, begun + passed, loaded)
                generation = replace(anew, sampling=sampling, favour=favour)
            elif passed:
                return
            elif not held.strip() and not begun and not attempt and stats[-1].generated_tokens:
                generation = replace(generation, prompt=generation.prompt + formats.NO_THOUGHTS)
            elif not tries_left or not repeats(begun + held, request.recent_replies):
                yield held if held.strip() or begun else spare
                return
            else:
                generation = replace(generation, sampling=hotter(generation.sampling, attempt))

    def _generation(self, request: ChatRequest, begun: str, loaded: LoadedModel) -> Generation:
        fitted, prompt, ends = self._prompts.write(request, begun, loaded.info)
        user = request.persona.user_name
        stops = [*word_stops(request), *([f"\n{user}:"] if user else [])]
        return Generation(
            prompt=prompt,
            max_tokens=fitted.max_tokens,
            stop=tuple(dict.fromkeys([*stops, *ends])),
            sampling=sampling_for(loaded, request.sampling, self._temperature()),
            favoured=fitted.favoured if is_small(loaded) else (),
            heal=len(fitted.partial),
        )


class _Hold:
    """Limits how long words wait for the end of their sentence; a slow model would be taken for a silent one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None

    def is_over(self) -> bool:
        """Asked with each piece; the first one starts the time."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        return now - self._since >= HELD_SECONDS

    def restart(self) -> None:
        """Something was passed on."""
        self._since = None


def _in_sentences(pieces: Iterator[str], reply: SentenceFilter, stats: GenerationStats, hold: _Hold) -> Iterator[str]:
    """Yield what ``reply`` lets through. If the model fails, yield what it had begun: the next tier continues there."""
    try:
        for piece in pieces:
            if text := reply.feed(piece) or (reply.hurry() if hold.is_over() else ""):
                yield text
                hold.restart()
            if reply.ended:
                return
    except FallbackError:
        yield reply.broken_off()
        raise
    if text := reply.finish(stats.finish_reason == "length"):
        yield text
