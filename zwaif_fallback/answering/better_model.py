"""In an outage, looks whether ``auto`` should take a better model: the dead server's memory may be free by then."""

from __future__ import annotations

import threading

from zwaif_fallback.answering.chain import details
from zwaif_fallback.answering.contracts import LocalModel, Say
from zwaif_fallback.answering.model_loader import ModelLoader
from zwaif_fallback.choosing.configured_model import ConfiguredModel

LOOK_SECONDS = (10.0, 30.0, 120.0)
"""Pauses before each look, from the start of the outage."""


class BetterModel:
    """Looks a few times in each outage, in a thread of its own."""

    def __init__(
        self, choice: ConfiguredModel, local: LocalModel, loader: ModelLoader, say: Say, closed: threading.Event
    ) -> None:
        self._choice, self._local, self._loader, self._say, self._closed = choice, local, loader, say, closed
        self._thread: threading.Thread | None = None

    def look_soon(self) -> None:
        """Start to look, if the choice is ours. Returns at once."""
        if self._thread is None and self._choice.is_automatic():
            self._thread = threading.Thread(target=self._look, name="zwaif-fallback-auto", daemon=True)
            self._thread.start()

    def _look(self) -> None:
        try:
            for seconds in LOOK_SECONDS:
                if self._closed.wait(seconds):
                    return
                if why := self._choice.choose_again(self._local.loaded):
                    self._say(f"A better local model fits now: {why}")
                    self._loader.begin(self._choice.current())
        except Exception as error:  # for example a failing disk; no caller would see it
            self._say(f"Could not check whether a better local model fits now.{details(error)}")
        finally:
            self._thread = None
