"""What the parts of an answer expect of each other: tiers, the local model, a second server, a captioner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_hooks.messages import ChatRequest, Message, Sampling
from zwaif_hooks.stream import CancelScope

Say = Callable[[str], None]
"""Prints one line for the user."""
Caption = Callable[[ChatRequest], ChatRequest]
"""Replaces a picture in a request by a sentence that describes it, where a vision model is configured."""


class Tier(Protocol):
    """One way to answer a request."""

    def speak(self, request: ChatRequest, begun: str, scope: CancelScope) -> tuple[str, Iterator[str]]:
        """Return the tier's name and the pieces of its reply.

        Args:
            begun: what Z-Waif already has of the reply; the pieces continue it.
            scope: cancelling it ends a wait inside this call.

        Raises:
            FallbackError: this tier cannot answer; the text is for the user. The pieces may raise it too, at any point.
        """


class TextGenerator(Protocol):
    """The part of the local model that generates text: ``LocalModel`` or any engine."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]: ...

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]: ...


class SecondServer(Protocol):
    """A server with its own model and chat format: ``second_server.SecondServerClient``."""

    def stream(
        self, messages: Sequence[Message], *, sampling: Sampling, stop: Sequence[str], max_tokens: int, partial: str
    ) -> Iterator[str]:
        """Return the pieces of the reply, or of what follows ``partial``."""


class LocalModel(TextGenerator, Protocol):
    """The local model as a whole: ``local.model.LocalModel``. If a load fails, the model before it stays loaded."""

    @property
    def loaded(self) -> LoadedModel | None: ...

    def load(self, options: LoadOptions, progress: Callable[[str], None] = ...) -> LoadedModel: ...

    def read_ahead(self, prompt: str) -> GenerationStats: ...

    def try_again(self) -> None: ...

    @property
    def standing_by(self) -> int | None: ...

    def stand_by(self, options: LoadOptions) -> None: ...

    def dismiss(self) -> None: ...

    def unload(self) -> None: ...

    def close(self) -> None: ...


class Captioner(Protocol):
    """Describes pictures: ``pictures.captioner.PictureCaptioner``."""

    def describe_in(self, request: ChatRequest, model: str) -> ChatRequest: ...

    def close(self) -> None: ...
