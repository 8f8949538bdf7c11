"""What the Settings tab shows of the local model and does with it: load, unload, test."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.contracts import LocalModel, Tier
from zwaif_fallback.answering.model_loader import ModelLoader
from zwaif_fallback.answering.standby import Standby
from zwaif_fallback.answering.tiers import Tiers
from zwaif_fallback.choosing.configured_model import ConfiguredModel
from zwaif_fallback.engine_types import LoadedModel, LoadOptions
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.prompt import formats
from zwaif_hooks.messages import Answer, ChatRequest, FailureKind, Message, PrimaryFailure, Sampling

TEST_TOKENS = 120
"""The longest reply to a test message."""


class LocalModelControls:
    """Implements :class:`zwaif_fallback.ui.service_protocol.Service`. State comes from memory, at once."""

    def __init__(
        self, local: LocalModel, choice: ConfiguredModel, loader: ModelLoader, standby: Standby, tiers: Tiers
    ) -> None:
        self._local, self._choice, self._loader, self._standby, self._tiers = local, choice, loader, standby, tiers

    def loaded(self) -> LoadedModel | None:
        """Return the loaded model under the name its owner knows it by."""
        return self._loader.loaded()

    def is_loading(self) -> bool:
        """Whether a load is under way or waiting."""
        return self._loader.is_loading()

    def standing_by(self) -> int:
        """Bytes of the process that waits for a model; 0 without one."""
        return self._standby.memory()

    def is_automatic(self) -> bool:
        """Whether the choice is left to us: ``auto``, or none was chosen and the default is not on this computer."""
        return self._choice.is_automatic()

    def taken(self) -> str:
        """The model we chose; empty before that was necessary."""
        return self._choice.own_choice

    def local_news(self) -> list[str]:
        """Progress of a load, what is wrong with the local model, and compromises made when it was loaded."""
        loaded = self.loaded()
        lines = [self._loader.progress, self._loader.problem, *(loaded.notes if loaded else ())]
        return [line for line in lines if line]

    def load_model(self, name: str, allow_download: bool) -> None:
        """Start to load a model in the background; progress and outcome appear in ``local_news``.

        Raises:
            ModelNotFound: the name means nothing.
        """
        model = self._choice.resolve(name)
        formats.retry_templates()
        self._local.try_again()
        self._loader.forget_failures()
        self._loader.begin(model, allow_download)

    def unload(self) -> str:
        """Free the local model's memory, after a reply that is being generated; return a line that says so."""
        loaded = self.loaded()
        if self.is_loading():
            return "A model is being loaded. Unload it when it is there."
        if loaded is None:
            return "No local model is loaded."
        self._loader.unload()
        return f"Unloaded: {loaded.memory_bytes / 1e9:.1f} GB are free again. It is loaded again when it is needed."

    def test_reply(self, prompt: str, model: str = "") -> Answer:
        """Return a real reply, generated while its pieces are read, by any tier but last words.

        With ``model``, as in the setting, only that one is asked; the model before it is loaded again afterwards.
        """
        request = ChatRequest("oobabooga", (Message("user", prompt),), max_tokens=TEST_TOKENS, sampling=Sampling())
        tiers: Callable[[ChatRequest], Iterable[Tier]] = self._tiers.models
        if model:
            only = self._tiers.local_with(lambda: self._loader.load_named(model))
            tiers = lambda asked: [only]  # noqa: E731
        answer = Chain(tiers, self._loader.note_problem).answer(request, PrimaryFailure(FailureKind.UNKNOWN, "a test"))
        answer.pieces = self._or_problem(answer.pieces, self._loader.loaded_from if model else None)
        return answer

    def _or_problem(self, pieces: Iterable[str], before: LoadOptions | None) -> Iterable[str]:
        self._loader.problem, said = "", ""
        try:
            for piece in pieces:
                said += piece
                yield piece
        finally:
            if before is not None and before != self._loader.loaded_from:
                self._loader.begin(before.model)
        if not said.strip():
            raise FallbackError(self._loader.problem or "Neither the second server nor the local model gave a reply.")
