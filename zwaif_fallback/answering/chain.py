"""Who answers: the fallback host, then the local model, then last words. Each goes on where the one before it stopped.

A tier is only asked when its turn comes, in the thread that reads the answer, so a reply starts as soon as its reader
does. Any number of answers may be under way at once; nothing is locked across a ``yield``, because Z-Waif abandons
iterators without closing them.
"""

from __future__ import annotations

import contextlib
import html
import logging
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from zwaif_fallback.answering.last_words import LastWords
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_fallback.errors import FallbackError, ModelError, WorkerDied, WorkerHung
from zwaif_fallback.local.sampling_params import hotter, is_small, sampling_for
from zwaif_fallback.local.single_flight import SingleFlight
from zwaif_fallback.prompt import fit_to_window, formats
from zwaif_fallback.prompt.stable_prefix import PromptPrefixes
from zwaif_fallback.reply_quality import sentence_filter
from zwaif_fallback.reply_quality.sentence_filter import SentenceFilter
from zwaif_fallback.reply_stream import ReplyStream
from zwaif_hooks import log
from zwaif_hooks.messages import (
    DEFAULT_MAX_TOKENS,
    Answer,
    ChatRequest,
    Message,
    ModelInfo,
    PrimaryFailure,
    Purpose,
    Sampling,
)
from zwaif_hooks.reply.continuation import Joiner, LastWordJoiner, split_at_last_word
from zwaif_hooks.reply.false_replies import says_nothing
from zwaif_hooks.reply.spoken_text import ThinkingHabit, spoken
from zwaif_hooks.stream import CancelScope

FormatPrompt = Callable[[Sequence[Message], ModelInfo, str], "str | None"]
"""The hook ``format_prompt``, asked through the plugin manager."""
Say = Callable[[str], None]
See = Callable[[ChatRequest], ChatRequest]

ATTEMPTS = 3
"""How often a local model may try to say something it has not just said, and a prompt to fit the window."""
MORE_FAVOUR = 1.0
"""For the words of an answer, when a try had none of them."""
LAST_WORDS = "last words"
"""The name of whoever speaks when nobody can."""
HELD_SECONDS = 4.0
"""For which a sentence is waited for from its first word on; then its words are passed on as they come."""

_logger = logging.getLogger("zwaif")


class Settings(Protocol):
    """What is read of the settings, each time anew."""

    def get(self, name: str) -> Any: ...


class TextGenerator(Protocol):
    """The part of a local model that replies: ``supervisor.LocalModel``, or any engine."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]: ...


class Remote(Protocol):
    """Another LLM server, which brings its own model and chat format: ``engines.remote.RemoteChat``."""

    def stream(
        self, messages: Sequence[Message], *, sampling: Sampling, stop: Sequence[str], max_tokens: int, partial: str
    ) -> Iterator[str]:
        """The reply, or what follows ``partial``."""


class Tier(Protocol):
    """One who may answer."""

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        """Name and pieces of the reply; ``begun`` is what Z-Waif has of it already. Who waits here for what takes long
        is woken when ``scope`` is cancelled.

        Raises:
            FallbackError: cannot answer; the text is for the user. The pieces may raise it too, at any point.
        """


class Chain:
    """All tiers in order. ``answer`` may be called by several threads at once."""

    def __init__(self, tiers: Callable[[ChatRequest], Iterable[Tier]], say: Say) -> None:
        self._tiers = tiers
        self._say = say
        self._told: set[str] = set()

    def begin_anew(self) -> None:
        """The outage is over: in the next one its problems are told again."""
        self._told.clear()

    def answer(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        """The answer, made while its ``pieces`` are read; they end after at least some text."""
        answer = Answer((), exact=True, keeps_time=True)
        answer.pieces = ReplyStream(partial(self._pieces, request, failure.delivered, answer))
        return answer

    def _pieces(
        self, request: ChatRequest, delivered: str, answer: Answer, scope: CancelScope
    ) -> Generator[str, None, None]:
        begun, speakers, counts = delivered, list[str](), list[int | None]()
        for tier in self._tiers(request):
            said = problem = ""
            pieces: Iterator[str] = iter(())
            try:
                name, pieces = tier.speak(request, begun, scope)
                scope.on_cancel(getattr(pieces, "close", bool))
                with contextlib.closing(_from_first_word(pieces, bool(begun))) as source:
                    for piece in source:
                        if not said:
                            speakers.append(name)
                            answer.answered_by = ", then ".join(speakers)
                        said += piece
                        yield piece
                if said or _had_nothing_to_add(tier, begun):
                    return
                problem = f"{name} gave an empty reply; trying the next."
            except FallbackError as error:
                problem = str(error)
            except Exception as error:  # Whatever one tier dies of, the next must get its chance.
                problem = f"The fallback failed in an unexpected way and the next is tried.{details(error)}"
            finally:
                if said:
                    counts.append(getattr(pieces, "tokens", None))
                    known = [count for count in counts if count is not None]
                    answer.tokens = sum(known) if len(known) == len(counts) else None
            if scope.cancelled:  # what ended it so is no problem of its own
                return
            self._tell(problem)
            begun += said

    def _tell(self, problem: str) -> None:
        """Once an outage: with each message it would be the same."""
        if problem not in self._told:
            self._told.add(problem)
            self._say(problem)


def details(error: BaseException) -> str:
    """Where the log has them, as the end of a line; empty where it cannot be written."""
    place = log.note("The fallback failed", error)
    return f" (Details: {place})" if place is not None else ""


class Counted:
    """Pieces of a reply, from somebody who knows how many tokens were made for them."""

    def __init__(self, pieces: Iterator[str], stats: Sequence[GenerationStats] = ()) -> None:
        """``stats`` may grow while the pieces are read: a reply may need several tries."""
        self._pieces = pieces
        self._stats = stats

    @property
    def tokens(self) -> int:
        """So far."""
        return sum(stats.generated_tokens for stats in self._stats)

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def __next__(self) -> str:
        return next(self._pieces)

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()


def _from_first_word(pieces: Iterable[str], begun: bool) -> Generator[str, None, None]:
    """A reply starts with its first letter, a continuation perhaps with the space before it. Without a word
    there is nothing: what only looks like text would be a beginning for whoever is asked next.

    Closes ``pieces`` in the end.
    """
    held, said = "", False
    with contextlib.closing(_closable(pieces)) as source:
        for piece in source:
            held += piece
            if held and (said or not says_nothing(held, is_whole=False)):
                yield held if said or begun else held.lstrip()
                held, said = "", True
    if not says_nothing(held):
        yield held if begun else held.lstrip()


def _one_line(heard: Iterable[str], request: ChatRequest, begun: str) -> Generator[str, None, None]:
    """Up to a line break where Z-Waif wants one line; breaks before the first word do not count."""
    until = StopFilter(_line_stops(request))
    with contextlib.closing(_from_first_word(heard, bool(begun))) as source:
        for piece in source:
            if text := until.feed(piece):
                yield text
            if until.stopped:
                return
    if text := until.flush():
        yield text


def _line_stops(request: ChatRequest) -> tuple[str, ...]:
    """Stops for what is heard; no model and no server is told of them. With the user's name the user's turn begins."""
    user = request.persona.user_name
    is_talk = request.purpose is not Purpose.SUMMARY
    turns = [f"\n{user}:"] if user and is_talk else []
    return (*(stop for stop in request.stop if stop and stop.isspace()), *turns)


def _word_stops(request: ChatRequest) -> tuple[str, ...]:
    """The other stops."""
    return tuple(stop for stop in request.stop if stop.strip())


def _closable(pieces: Iterable[str]) -> Generator[str, None, None]:
    """Any iterable as a generator, which ``closing`` can close; closing reaches the one inside."""
    try:
        yield from pieces
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _had_nothing_to_add(tier: Tier, begun: str) -> bool:
    """The model was asked to go on and had nothing to add to a whole sentence: the reply was finished already."""
    return isinstance(tier, LocalTier) and begun.rstrip().endswith((".", "!", "?", "…", '"', "*", "~", "。"))


class _Patience:
    """How long words are held back while more of their sentence come. A slow model would be taken for a silent one."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._since: float | None = None

    def is_over(self) -> bool:
        """Asked with each piece; the first one begins it."""
        now = self._clock()
        self._since = now if self._since is None else self._since
        return now - self._since >= HELD_SECONDS

    def begin_anew(self) -> None:
        """Something was passed on."""
        self._since = None


def _in_sentences(
    pieces: Iterator[str], reply: SentenceFilter, stats: GenerationStats, patience: _Patience
) -> Iterator[str]:
    """What ``reply`` lets through. Where the model fails, what it had begun is said: whoever is next goes on there."""
    try:
        for piece in pieces:
            if text := reply.feed(piece) or (reply.hurry() if patience.is_over() else ""):
                yield text
                patience.begin_anew()
            if reply.ended:
                return
    except FallbackError:
        yield reply.broken_off()
        raise
    if text := reply.finish(stats.finish_reason == "length"):
        yield text


# --- tiers ----------------------------------------------------------------------------------------------------------


class RemoteTier:
    """The host in ``API_FALLBACK_HOST``; ``connect`` makes it, or raises what is wrong with the address.

    ``see`` puts a picture into words where it can. ``habit`` is the server's, from earlier replies."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Remote],
        see: See = lambda request: request,
        habit: ThinkingHabit | None = None,
    ) -> None:
        self._name = name
        self._connect = connect
        self._see = see
        self._habit = habit

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        """Another server knows no more of the character and sees no more pictures than a local model does."""
        request = self._see(request)
        return self._name, ReplyStream(partial(self._heard, request, begun))

    def _heard(self, request: ChatRequest, begun: str, scope: CancelScope) -> Generator[str, None, None]:
        made = self._continued(request, begun, scope) if begun else self._ask(request, begun, scope)
        yield from _one_line(made, request, begun)

    def _ask(self, request: ChatRequest, begun: str, scope: CancelScope) -> Generator[str, None, None]:
        pieces = self._connect().stream(
            fit_to_window.unfitted(request),
            sampling=request.sampling,
            stop=_word_stops(request),
            max_tokens=request.max_tokens or DEFAULT_MAX_TOKENS,
            partial=formats.plain(begun, fit_to_window.ANY_MODEL),
        )
        scope.on_cancel(getattr(pieces, "close", bool))
        # Before anything is joined: behind its thoughts a server may say the beginning again.
        yield from spoken(pieces, request.persona.char_name, begun, self._habit)

    def _continued(self, request: ChatRequest, begun: str, scope: CancelScope) -> Generator[str, None, None]:
        """What follows ``begun``. The server is given whole words only: it tokenizes half a word like any other text,
        and those that start the word anew would leave open where it ends. When it goes on with another word, that one
        was meant to stay, and it is asked once more with everything."""
        given, _ = split_at_last_word(begun)
        if given:
            joiner = LastWordJoiner(begun)
            yield from _joined(self._ask(request, given, scope), joiner)
            if not joiner.failed:
                return
        yield from _joined(self._ask(request, begun, scope), Joiner(begun))


def _joined(pieces: Iterator[str], joiner: Joiner | LastWordJoiner) -> Iterator[str]:
    with contextlib.closing(_closable(pieces)) as source:
        for piece in source:
            yield joiner.feed(piece)
            if isinstance(joiner, LastWordJoiner) and joiner.failed:
                return
    yield joiner.finish()


class LocalTier:
    """The local model. ``ready`` loads it where needed (blocking) and says which it is; a load goes on for the next
    reply where the one that began it is given up."""

    def __init__(
        self,
        model: TextGenerator,
        ready: Callable[[], LoadedModel],
        format_prompt: FormatPrompt,
        longest: Callable[[], int],
        say: Say,
        temperature: Callable[[], float] = lambda: 0.0,
        see: See = lambda request: request,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``longest`` (tokens) and ``temperature`` overrule the request where they are not 0.
        ``see`` puts a picture into words where it can."""
        self._model = model
        self._ready = SingleFlight(ready)
        self._format_prompt = format_prompt
        self._longest = longest
        self._say = say
        self._temperature = temperature
        self._see = see
        self._clock = clock
        self._history = PromptPrefixes()

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        loaded = self._ready.result(scope)
        request = self._see(request)  # afterwards: the model that replies has the first claim on the memory
        stats: list[GenerationStats] = []
        return loaded.info.name, Counted(
            ReplyStream(partial(self._through_a_restart, request, begun, loaded, stats)), stats
        )

    def read_ahead(self, request: ChatRequest, reply: str, model: ModelInfo, read: Callable[[str], object]) -> None:
        """Have ``read`` take in what the prompt after ``reply`` will begin with; only a chat goes on after one."""
        if request.purpose is not Purpose.CHAT or not reply.strip():
            return
        messages = fit_to_window.fit_next_turn(
            self._wanted(request), reply, model, self._model.count_tokens, self._history
        )
        begun = formats.up_to_newest(messages, lambda turns: self._prompt(turns, model))
        if begun:
            read(begun)

    def read(self, request: ChatRequest, begun: str, model: ModelInfo, read: Callable[[str], object]) -> None:
        """Have ``read`` take in the very prompt of a reply to ``request``, of which Z-Waif has ``begun``."""
        read(self._fitted(self._wanted(request), begun, model)[1])

    def _through_a_restart(
        self, request: ChatRequest, begun: str, loaded: LoadedModel, stats: list[GenerationStats], scope: CancelScope
    ) -> Generator[str, None, None]:
        """When the worker dies, once: load again and go on from the last character."""
        text = ""
        try:
            with contextlib.closing(self._fresh(request, begun, loaded, stats, scope)) as pieces:
                for piece in pieces:
                    text += piece
                    yield piece
            return
        except (WorkerDied, WorkerHung) as error:
            self._say(f"{error} Starting it again.")
        yield from self._fresh(request, begun + text, self._ready.result(scope), stats, scope)

    def _fresh(
        self, request: ChatRequest, begun: str, loaded: LoadedModel, stats: list[GenerationStats], scope: CancelScope
    ) -> Generator[str, None, None]:
        """A reply that is none of the recent ones and hers from the first sentence on (see :mod:`.replies`).

        Held back only while it could still become one of them. A model that only thought, until its tokens were gone,
        is asked again as if it had thought already; one that went astray goes on from where it did."""
        wanted = sentence_filter.expected(request, knows_its_card=not is_small(loaded))
        patience = _Patience(self._clock)
        generation, passed, spare = self._generation(request, begun, loaded), "", ""
        for tries_left in reversed(range(ATTEMPTS)):
            attempt, held = ATTEMPTS - 1 - tries_left, ""
            reply = SentenceFilter(wanted, begun + passed, tries_left)
            stats.append(GenerationStats())
            made = self._model.generate(generation, stats[-1])
            scope.on_cancel(getattr(made, "close", bool))
            heard = spoken(made, request.persona.char_name, begun + passed)
            with contextlib.closing(_one_line(heard, request, begun + passed)) as pieces:
                for text in _in_sentences(pieces, reply, stats[-1], patience):
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
        model = loaded.info
        fitted, prompt = self._fitted(self._wanted(request), begun, model)
        user = request.persona.user_name
        stops = [*_word_stops(request), *([f"\n{user}:"] if user else [])]
        return Generation(
            prompt=prompt,
            max_tokens=fitted.max_tokens,
            stop=tuple(dict.fromkeys([*stops, *formats.stop_strings(model)])),
            sampling=sampling_for(loaded, request.sampling, self._temperature()),
            favoured=fitted.favoured if is_small(loaded) else (),
            heal=len(fitted.partial) if prompt.endswith(fitted.partial) else 0,
        )

    def _fitted(self, request: ChatRequest, begun: str, model: ModelInfo) -> tuple[fit_to_window.Fitted, str]:
        """The conversation, and its prompt within the window. It is fitted by the model's own format; where a plugin
        writes more, as much of the conversation gives way."""
        count, more = self._model.count_tokens, 0
        for _ in range(ATTEMPTS):
            fitted = fit_to_window.fit(request, model, count, begun, self._history, more)
            prompt = self._prompt(fitted.messages, model, fitted.partial)
            written = count([prompt])[0]
            if written + fitted.max_tokens <= model.context_window:
                return fitted, prompt
            own = self._own_prompt(fitted.messages, model, fitted.partial)
            if own == prompt:
                return fitted, prompt
            more = written - count([own])[0]
        log.say_once(
            f"format_prompt {model.name}",
            f"A plugin writes prompts (format_prompt) that {model.name} has no room for, however little is told: "
            "the model's own format is used instead.",
        )
        fitted = fit_to_window.fit(request, model, count, begun, self._history)
        return fitted, self._own_prompt(fitted.messages, model, fitted.partial)

    def _wanted(self, request: ChatRequest) -> ChatRequest:
        """With the length of the reply that counts."""
        limit = self._longest() or request.max_tokens or DEFAULT_MAX_TOKENS
        return replace(request, max_tokens=min(request.max_tokens or DEFAULT_MAX_TOKENS, limit))

    def _prompt(self, messages: Sequence[Message], model: ModelInfo, partial: str = "") -> str:
        """The hook's prompt; when every implementation failed, the format of the model's family."""
        written = self._format_prompt(messages, model, partial)
        return written if written is not None else self._own_prompt(messages, model, partial)

    def _own_prompt(self, messages: Sequence[Message], model: ModelInfo, partial: str) -> str:
        try:
            return formats.render(messages, model, partial)
        except ModelError as error:
            self._say(f"{error} Using the format of its family instead.")
            return formats.by_family(messages, model, partial)


class LastTier:
    """Never fails: one short line."""

    def __init__(self, words: LastWords) -> None:
        self._words = words

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        if begun.strip():
            return LAST_WORDS, Counted(iter([self._words.ending(begun)]))
        return LAST_WORDS, Counted(iter([self._words.line(request.purpose, request.recent_replies)]))


# --- repetition -------------------------------------------------------------------------------------------------------


_HALF_ENTITY = re.compile(r"&#?\w{0,8}$")


def _plain(text: str) -> str:
    """As Z-Waif compares replies."""
    return html.unescape(text).strip()


def repeats(text: str, recent: Sequence[str]) -> bool:
    """Whether ``text`` is one of the recent replies."""
    return bool(text.strip()) and _plain(text) in map(_plain, recent)


def may_repeat(text: str, recent: Sequence[str]) -> bool:
    """Whether ``text`` could still become one of them."""
    begun = _plain(_HALF_ENTITY.sub("", text))
    return any(_plain(reply).startswith(begun) for reply in recent)
