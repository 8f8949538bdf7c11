"""What the section needs of the plugin."""

from __future__ import annotations

from typing import Protocol

from zwaif_fallback.engine_types import LoadedModel
from zwaif_hooks.messages import Answer


class Service(Protocol):
    """The part of ``FallbackService`` that is used; all of it is from memory, at once, unless it says otherwise."""

    def loaded(self) -> LoadedModel | None:
        """The local model that is loaded."""

    def standing_by(self) -> int:
        """Bytes of the process in which a model can be loaded at once; 0 where there is none."""

    def is_automatic(self) -> bool:
        """Whether the choice of the model is left to the plugin."""

    def taken(self) -> str:
        """What the plugin chose, as a setting names it; empty before that was necessary."""

    def local_news(self) -> list[str]:
        """Progress of a load, what is wrong with the local model, steps down that were taken."""

    def load_model(self, name: str, allow_download: bool) -> None:
        """Begin to load in the background and return; outcome and progress appear in ``local_news``."""

    def is_loading(self) -> bool: ...

    def unload(self) -> str:
        """Give its memory back, after a reply that is being made; what came of it, in one line."""

    def test_reply(self, prompt: str, model: str = "") -> Answer:
        """A real reply, made while its pieces are iterated; closing the iterator stops it.

        By whoever would answer, or by one model, as a setting names it.
        """
