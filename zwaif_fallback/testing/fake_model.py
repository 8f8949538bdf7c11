"""A local model without a model: it says what a test tells it to, and keeps what it was given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from zwaif_fallback.answering.contracts import SecondServer
from zwaif_fallback.answering.service import Collaborators, FallbackService
from zwaif_fallback.demo import MODEL
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks import log
from zwaif_hooks.messages import Answer, ChatRequest, ModelInfo, PrimaryFailure
from zwaif_hooks.specs import hookimpl
from zwaif_hooks.testing import FakeHost

_WORD = re.compile(r"\S+\s*|\s+")


class FakeModel:
    """Takes the place of the local model in a ``FakeHost``. How prompts are written, fitted and answered is real.

    A token is a word.
    """

    def __init__(self, *replies: str, info: ModelInfo | None = None) -> None:
        """``replies``: one for each generation, the last one again and again. ``info``: what ``prompt_format`` gets."""
        self.info = info or ModelInfo("fake-model", "tinyllama")
        self.loaded: LoadedModel | None = None
        self.standing_by: int | None = None
        self.generations: list[Generation] = []
        """What it was asked for, with the ``prompt`` and the strings at which it was to ``stop``."""
        self._replies = list(replies)

    @property
    def prompts(self) -> list[str]:
        """The prompt of each reply."""
        return [generation.prompt for generation in self.generations]

    def attach(self, host: FakeHost) -> None:
        """Let the fallback of ``host`` answer with this model, after all other plugins."""
        host.settings.extend(SETTINGS)
        host.settings.set("API_FALLBACK_MODEL", str(MODEL))  # any name of a model that is there
        parts = Collaborators(
            host.settings,
            self,
            _no_second_server,
            log.say,
            host.plugins.prompt_formats,
            was_model_chosen=lambda: True,
        )
        host.plugins.register(_Fallback(FallbackService(parts)), "fallback")

    def load(self, options: LoadOptions, progress: Callable[[str], None] = lambda line: None) -> LoadedModel:
        self.loaded = LoadedModel(self.info, "fake")
        return self.loaded

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(_WORD.findall(text)) for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        self.generations.append(generation)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        return self._speak(reply, generation, stats or GenerationStats())

    def _speak(self, reply: str, generation: Generation, stats: GenerationStats) -> Iterator[str]:
        stops = StopFilter(generation.stop)
        for word in _WORD.findall(reply)[: generation.max_tokens]:
            stats.generated_tokens += 1
            yield from filter(None, [stops.feed(word)])
            if stops.stopped:
                break
        yield from filter(None, [stops.flush()])
        stats.finish_reason = "stop"

    def read_ahead(self, prompt: str) -> GenerationStats:
        return GenerationStats()

    def try_again(self) -> None:
        """It never hangs."""

    def stand_by(self, options: LoadOptions) -> None:
        """It needs no process."""

    def dismiss(self) -> None:
        """It has no process."""

    def unload(self) -> None:
        self.loaded = None

    def close(self) -> None:
        self.loaded = None


def _no_second_server(address: str, model: str) -> SecondServer:
    raise ValueError("a FakeModel has no second server beside it: leave API_FALLBACK_HOST empty")


class _Fallback:
    """The fallback as a plugin."""

    def __init__(self, service: FallbackService) -> None:
        self._service = service

    @hookimpl(trylast=True)
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        return self._service.answer(request, failure)
