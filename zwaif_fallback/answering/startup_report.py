"""Says at Z-Waif's start whether the fallback can answer and with which model, or what to do about it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zwaif_fallback.answering.contracts import Say
from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.configured_model import ConfiguredModel
from zwaif_fallback.choosing.no_model_chosen import MODEL, unresolved_message
from zwaif_fallback.errors import ModelNotFound


class StartupReport:
    """Searches the disks in a thread of its own; Z-Waif's start does not wait for that.

    Args:
        setting: returns a setting's value.
        models: which model the settings mean.
        tree: Z-Waif's folder.
        say: prints a line for the user.
        load: starts to load a model; the second argument is whether it may be downloaded.
    """

    def __init__(
        self,
        setting: Callable[[str], Any],
        models: ConfiguredModel,
        tree: Path | None,
        say: Say,
        load: Callable[[str, bool], None],
    ) -> None:
        self._setting, self._models, self._tree, self._say, self._load = setting, models, tree, say, load

    def tell(self) -> None:
        """Say whether the fallback is ready, and load the model if the user wants it loaded at the start."""
        try:
            model = self._models.wanted()
        except ModelNotFound as error:
            return self._not_ready(unresolved_message(str(self._setting(MODEL)), error))
        if resolve_name.is_on_this_machine(model):
            return self._ready(model)
        if self._setting("API_FALLBACK_DOWNLOAD"):
            return self._load(model, True)
        self._not_ready(str(resolve_name.not_here(model)))

    def _ready(self, model: str) -> None:
        if self._setting("API_FALLBACK_PRELOAD") == "start":
            return self._load(model, False)
        self._say(f"Fallback ready: {self._models.title(model)} is on this computer and is loaded when it is needed")

    def _not_ready(self, why: str) -> None:
        if self._models.is_unchosen():
            return self._look(self._take_what_is_here)
        self._say(f"Fallback not ready: {why}")
        self._look(self._tell_what_is_here)

    def _look(self, look: Callable[[], None]) -> None:
        threading.Thread(target=look, name="zwaif-fallback-instead", daemon=True).start()

    def _take_what_is_here(self) -> None:
        if found := self._models.found_model():
            self._ready(found)
        else:
            self._say(f"Fallback not ready: {self._models.not_here('')}")
            self._tell_what_is_here()

    def _tell_what_is_here(self) -> None:
        # Slow to import, and Z-Waif's start waits for this module.
        from zwaif_fallback.choosing.suggestions import suggest_found_model

        if line := suggest_found_model(self._tree, str(self._setting("FALLBACK_MODEL_DIR"))):
            self._say(line)
