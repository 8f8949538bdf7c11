"""What the section needs from the plugin."""

from __future__ import annotations

from typing import Protocol

from zwaif_fallback.engine_types import LoadedModel
from zwaif_hooks.messages import Answer


class Service(Protocol):
    """The part of ``FallbackService`` used by the section. Everything returns at once, from memory, unless noted."""

    def loaded(self) -> LoadedModel | None:
        """Return the loaded local model."""

    def standing_by(self) -> int:
        """Return the memory of the standby process in bytes; 0 if there is none."""

    def is_automatic(self) -> bool:
        """Whether the plugin chooses the model."""

    def taken(self) -> str:
        """Return the plugin's choice as a setting; empty if it has not had to choose yet."""

    def local_news(self) -> list[str]:
        """Return the progress of a load, problems of the local model, and compromises that were made."""

    def load_model(self, name: str, allow_download: bool) -> None:
        """Start a load in the background. Progress and outcome appear in ``local_news``."""

    def is_loading(self) -> bool: ...

    def unload(self) -> str:
        """Free the model's memory, after the current reply. Return the outcome in one line."""

    def test_reply(self, prompt: str, model: str = "") -> Answer:
        """Return a real reply, generated while its pieces are read; closing the iterator stops it.

        ``model`` is a value of the setting; empty means whatever would answer.
        """
