"""An engine without a model: says what it is told to. For tests, demos and plugin authors."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_fallback.errors import ModelError
from zwaif_hooks.messages import ModelInfo

Answer = str | Iterable[str] | BaseException
"""A text (spoken word by word), the very pieces to speak, or an exception to raise."""

_PIECE = re.compile(r"\S*\s*")


def _quiet(line: str) -> None:
    """Nobody listens to the progress of a scripted load."""


def _nothing() -> None:
    """No delay."""


class ScriptedEngine:
    """Speaks ``answers`` one after the other, the last one for ever.

    Args:
        answers: what to say, or a function from the generation to what to say.
        hang: where given, generation waits for this event before its first piece and does not hear ``cancel``:
            what a crashed driver looks like from outside.
        pause: called before every piece; give it a sleep, or a wait on an event, to make a slow model.
        load_error: raised by ``load``.
        context_window: in tokens; a token is a word here.
    """

    def __init__(
        self,
        answers: Sequence[Answer] | Callable[[Generation], Answer] = ("Hello there.",),
        *,
        hang: threading.Event | None = None,
        pause: Callable[[], None] = _nothing,
        load_error: ModelError | None = None,
        context_window: int = 2048,
    ) -> None:
        self._answers = answers
        self._hang = hang
        self._pause = pause
        self._load_error = load_error
        self._window = context_window
        self._cancelled = threading.Event()
        self.generations: list[Generation] = []
        """Every generation asked for so far, oldest first."""

    def prepare(self, options: LoadOptions) -> None:
        """There is nothing to import."""

    def load(self, options: LoadOptions, progress: Callable[[str], None] = _quiet) -> LoadedModel:
        progress(f"Loading {options.model} …")
        if self._load_error is not None:
            raise self._load_error
        return LoadedModel(info=ModelInfo(options.model, context_window=self._window), engine="scripted")

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        self._cancelled = threading.Event()
        self.generations.append(generation)
        return self._speak(generation, stats or GenerationStats(), self._cancelled)

    def _speak(self, generation: Generation, stats: GenerationStats, cancelled: threading.Event) -> Iterator[str]:
        stops = StopFilter(generation.stop)
        stats.prompt_tokens = stats.prefilled_tokens = len(generation.prompt.split())
        if self._hang is not None:
            self._hang.wait()
        for piece in self._pieces(generation):
            self._pause()
            if cancelled.is_set() or stops.stopped or stats.generated_tokens >= generation.max_tokens:
                break
            stats.generated_tokens += 1
            if text := stops.feed(piece):
                yield text
        if text := stops.flush():
            yield text
        out_of_tokens = stats.generated_tokens >= generation.max_tokens and not stops.stopped
        stats.finish_reason = "cancelled" if cancelled.is_set() else "length" if out_of_tokens else "stop"

    def _pieces(self, generation: Generation) -> Iterable[str]:
        if callable(self._answers):
            answer = self._answers(generation)
        else:
            answer = self._answers[min(len(self.generations), len(self._answers)) - 1]
        if isinstance(answer, BaseException):
            raise answer
        return _PIECE.findall(answer) if isinstance(answer, str) else answer

    def cancel(self) -> None:
        self._cancelled.set()

    def unload(self) -> None:
        """Nothing to give back."""
