"""What the parts of an answer promise each other: a tier, a model that generates, a second server."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from zwaif_fallback.engine_types import Generation, GenerationStats
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
    """A server with its own model and chat format: ``second_server.RemoteChat``."""

    def stream(
        self, messages: Sequence[Message], *, sampling: Sampling, stop: Sequence[str], max_tokens: int, partial: str
    ) -> Iterator[str]:
        """Return the pieces of the reply, or of what follows ``partial``."""
