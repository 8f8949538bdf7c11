"""Who answers in the server's place: the embedded model in its real worker process, or a script."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.last_words import LastWords, LastWordsTier
from zwaif_fallback.answering.local_tier import LocalTier
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.prompt.writer import PromptWriter
from zwaif_hooks.messages import Answer, ChatRequest, PrimaryFailure
from zwaif_hooks.specs import hookimpl


class Scripted:
    """Goes on with numbered words, so that a word that is lost or doubled shows."""

    pid: int | None = None

    def close(self) -> None:
        """Nothing to end."""

    @hookimpl
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        asked = request.messages[-1].content
        return Answer([f"<{number}:{asked}> " for number in range(5)], "script", exact=True)


class Local:
    """The plugin's own chain with the embedded model."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._model = LocalModel(say=say)
        folder = str(resources.files("zwaif_fallback.demo") / "model")
        self._options = LoadOptions(folder, device="cpu", quantization="none", threads=1)
        tier = LocalTier(self._model, self._ready, PromptWriter(self._model), say)
        tiers = (tier, LastWordsTier(LastWords(seed=1)))
        self._chain = Chain(lambda _: tiers, say)
        self._ready()

    @property
    def pid(self) -> int | None:
        return self._model.pid

    def close(self) -> None:
        self._model.close()

    @hookimpl
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        return self._chain.answer(request, failure)

    def _ready(self) -> Any:
        return self._model.load(self._options)
