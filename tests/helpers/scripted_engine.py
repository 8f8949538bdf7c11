"""An engine without a model that says what a test tells it to."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_hooks.messages import ModelInfo

Answer = str | Iterable[str] | BaseException
"""A text (spoken word by word), the exact pieces to speak, or an exception to raise."""

_WORD = re.compile(r"\S*\s*")


def _quiet(line: str) -> None:
    """Ignore the progress of a load."""


class ScriptedEngine:
    """Speaks ``answer(generation)``; a token is a word."""

    def __init__(self, answer: Callable[[Generation], Answer]) -> None:
        self._answer = answer
        self._cancelled = threading.Event()

    def prepare(self, options: LoadOptions) -> None:
        """There is nothing to import."""

    def load(self, options: LoadOptions, progress: Callable[[str], None] = _quiet) -> LoadedModel:
        progress(f"Loading {options.model} …")
        return LoadedModel(info=ModelInfo(options.model, context_window=2048), engine="scripted")

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        self._cancelled = threading.Event()
        return self._speak(generation, stats or GenerationStats(), self._cancelled)

    def _speak(self, generation: Generation, stats: GenerationStats, cancelled: threading.Event) -> Iterator[str]:
        stops = StopFilter(generation.stop)
        stats.prompt_tokens = stats.prefilled_tokens = len(generation.prompt.split())
        for piece in self._pieces(generation):
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
        answer = self._answer(generation)
        if isinstance(answer, BaseException):
            raise answer
        return _WORD.findall(answer) if isinstance(answer, str) else answer

    def cancel(self) -> None:
        self._cancelled.set()

    def unload(self) -> None:
        """There is nothing to free."""
