"""From the settings to the model that is loaded, and back to the name by which the user knows it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

from zwaif_fallback import catalogue, model_files
from zwaif_fallback.engines.base import LoadedModel
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models.auto import AutoModel, Wishes, choose_here, is_auto
from zwaif_fallback.models.fit import Choice


class ChosenModel:
    """What ``API_FALLBACK_MODEL`` means now.

    Args:
        setting: a setting's value.
        tree: Z-Waif's folder.
        best: what ``auto`` takes for a given memory.
    """

    def __init__(
        self,
        setting: Callable[[str], Any],
        tree: Callable[[], Path | None],
        best: Callable[[Wishes, Memory, Collection[str]], Choice | None] = choose_here,
    ) -> None:
        self._setting, self._tree = setting, tree
        self._auto = AutoModel(lambda memory, without: best(self._wishes(), memory, without))
        self._titles: dict[str, str] = {}

    def current(self) -> str:
        """What to load, or the default where an older release left a path to a file that is gone.

        Raises:
            ModelNotFound: the setting means nothing.
        """
        name = str(self._setting("API_FALLBACK_MODEL"))
        try:
            return self.resolve(name)
        except ModelNotFound:
            if model_files.looks_like_path(name) and model_files.is_on_this_machine(catalogue.DEFAULT):
                return catalogue.DEFAULT
            raise

    def resolve(self, name: str) -> str:
        """As :func:`zwaif_fallback.model_files.resolve`; ``auto`` stays the same until it is chosen again."""
        if is_auto(name):
            resolved = self._auto.model()
            self._titles[resolved] = self._auto.setting
            return resolved
        resolved = model_files.resolve(name, self._tree(), str(self._setting("FALLBACK_MODEL_DIR")))
        if Path(resolved).is_absolute() and not model_files.looks_like_path(name):
            self._titles[resolved] = name.strip()
        return resolved

    def title(self, model: str) -> str:
        """The name to show: ``ollama:llama3.2:3b`` says more than the file behind it."""
        return self._titles.get(model, model)

    def titled(self, loaded: LoadedModel | None) -> LoadedModel | None:
        """The same under the name to show."""
        if loaded is None or loaded.info.name not in self._titles:
            return loaded
        return replace(loaded, info=replace(loaded.info, name=self._titles[loaded.info.name]))

    def forget(self) -> None:
        """A setting changed: ``auto`` is chosen afresh."""
        self._auto.forget()

    def reject(self, model: str) -> bool:
        """It could not be loaded. True where ``auto`` had chosen it, and means another now."""
        return self.is_auto() and self._auto.reject(model)

    def is_auto(self) -> bool:
        return is_auto(str(self._setting("API_FALLBACK_MODEL")))

    def choose_again(self, loaded: LoadedModel | None) -> str:
        """Why ``auto`` means another model now; empty where it does not."""
        return self._auto.why if self.is_auto() and self._auto.choose_again(loaded) else ""

    def _wishes(self) -> Wishes:
        return Wishes(
            self._tree(),
            str(self._setting("FALLBACK_MODEL_DIR")),
            int(self._setting("API_FALLBACK_CONTEXT_WINDOW")),
            str(self._setting("API_FALLBACK_DEVICE")),
            str(self._setting("API_FALLBACK_QUANTIZATION")),
        )
