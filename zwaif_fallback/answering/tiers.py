"""Which tiers answer a request, and in which order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

from zwaif_fallback.addresses import same_server
from zwaif_fallback.answering.contracts import Captioner, Say, SecondServer, TextGenerator, Tier
from zwaif_fallback.answering.last_words import LastWords, LastWordsTier
from zwaif_fallback.answering.live_settings import LiveSettings
from zwaif_fallback.answering.local_tier import LocalTier
from zwaif_fallback.answering.second_server_tier import SecondServerTier
from zwaif_fallback.engine_types import LoadedModel
from zwaif_fallback.prompt.writer import PromptWriter
from zwaif_hooks.messages import ChatRequest
from zwaif_hooks.reply.spoken_text import ThinkingHabit


class Tiers:
    """Makes the tiers as the settings say.

    Args:
        load: loads the local model if necessary and returns it.
        second_server: returns the server at an address, with a model's name there.
        captioner: describes pictures; None if nothing can.
    """

    def __init__(
        self,
        settings: LiveSettings,
        local: TextGenerator,
        load: Callable[[], LoadedModel],
        prompts: PromptWriter,
        second_server: Callable[[str, str], SecondServer],
        last_words: LastWords,
        captioner: Captioner | None,
        say: Say,
    ) -> None:
        self._settings, self._model, self._prompts, self._say = settings, local, prompts, say
        self._second_server, self._captioner = second_server, captioner
        self._last = LastWordsTier(last_words)
        self._local = self.local_with(load)
        self._habits = defaultdict[tuple[str, str], ThinkingHabit](ThinkingHabit)

    def all(self, request: ChatRequest) -> Iterator[Tier]:
        """Yield every tier, in the order in which they are asked."""
        yield from self.models(request)
        yield self._last

    def models(self, request: ChatRequest) -> Iterator[Tier]:
        """Yield the tiers that generate a reply: the second server, unless it is the one that failed, and the model."""
        host = self._settings.text("API_FALLBACK_HOST")
        if host and not same_server(host, request.primary):
            model = str(self._settings.get("API_FALLBACK_HOST_MODEL"))
            habit = self._habits[host, model]
            yield SecondServerTier(host, lambda: self._second_server(host, model), self._caption, habit)
        yield self._local

    def local_with(self, load: Callable[[], LoadedModel]) -> LocalTier:
        """Return a tier that answers with the model that ``load`` loads."""
        return LocalTier(
            self._model,
            load,
            self._prompts,
            self._say,
            temperature=lambda: float(self._settings.get("API_FALLBACK_TEMPERATURE")),
            caption=self._caption,
        )

    def _caption(self, request: ChatRequest) -> ChatRequest:
        if self._captioner is None or request.picture is None:
            return request
        model = self._settings.text("API_FALLBACK_VISION_MODEL")
        return self._captioner.describe_in(request, model) if model else request
