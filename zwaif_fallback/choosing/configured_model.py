"""The model that the settings mean: what to load, and the name to show for it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import AutoModel, Constraints, choose_here, env_values, is_auto
from zwaif_fallback.choosing.no_model_chosen import EXAMPLE_VALUE, MODEL, default_for_stale_path, is_chosen, notice
from zwaif_fallback.engine_types import LoadedModel
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.name_syntax import looks_like_path

if TYPE_CHECKING:
    from zwaif_fallback.choosing.ranking import Choice


class ConfiguredModel:
    """What ``API_FALLBACK_MODEL`` means now.

    Args:
        setting: returns a setting's value.
        tree: Z-Waif's folder.
        best: what ``auto`` chooses for a given memory.
        named: whether the user set a model; by default read from Z-Waif's ``.env`` and the environment.
        say: shows the user one line.
    """

    def __init__(
        self,
        setting: Callable[[str], Any],
        tree: Callable[[], Path | None],
        best: Callable[[Constraints, Memory, Collection[str]], Choice | None] = choose_here,
        named: Callable[[], bool] | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._setting, self._tree = setting, tree
        self._auto = AutoModel(lambda memory, without: best(Constraints.of(setting, tree()), memory, without))
        self._named = named or (lambda: is_chosen(env_values(self._tree())))
        self._say = say
        self._titles: dict[str, str] = {}
        self._told: set[str] = set()
        self._telling = threading.Lock()
        """Held while the notice is shown, so that it comes before all other lines about the model."""

    def current(self) -> str:
        """Return what to load: the model in the setting, or the best one here if none was set and no default is here.

        Raises:
            ModelNotFound: the setting means no model.
        """
        return self.found_model() or self.wanted()

    def wanted(self) -> str:
        """Return the model in the setting, here or not; the default if an older release left a path to a missing file.

        Raises:
            ModelNotFound: the setting means no model.
        """
        name = str(self._setting(MODEL))
        try:
            return self.resolve(name)
        except ModelNotFound as error:
            return default_for_stale_path(name, error)

    def found_model(self) -> str:
        """Return the best model here if none was set and the default is missing, else empty. Tells the user once.

        The first call reads the disks: some hundredths of a second, up to a second for hundreds of files.
        """
        found = ""
        if self.is_unchosen():
            with contextlib.suppress(ModelNotFound):  # Nothing fits: the default's own error says what to do.
                found = self._auto.model()
        if not found:
            return ""
        title = self._titles[found] = self._auto.setting
        with self._telling:
            if title not in self._told:
                self._told.add(title)
                self._say(notice(title, str(self._setting(MODEL))))
        return found

    def is_unchosen(self) -> bool:
        """Return whether the user set no model and the default, which then applies, is missing."""
        if str(self._setting(MODEL)) not in (catalogue.DEFAULT, EXAMPLE_VALUE):
            return False
        with contextlib.suppress(ModelNotFound):
            if resolve_name.is_on_this_machine(self.wanted()):
                return False
        return not self._named()

    def not_here(self, model: str) -> ModelNotFound:
        """Return the error for a missing model; if none was set, it suggests the best one for this computer."""
        if self.is_unchosen():
            from zwaif_fallback.choosing.suggestions import nothing_here  # late: Z-Waif's start waits for this module

            return nothing_here(Constraints.of(self._setting, self._tree()))
        if Path(model).is_absolute():
            return ModelNotFound(
                f"There are no complete weights (*.safetensors) in {model}. Download the model again, with all its "
                "files."
            )
        return resolve_name.not_here(model)

    def resolve(self, name: str) -> str:
        """Resolve like :func:`.resolve_name.resolve`, but ``auto`` keeps its choice until it is chosen again."""
        if is_auto(name):
            resolved = self._auto.model()
            self._titles[resolved] = self._auto.setting
            return resolved
        resolved = resolve_name.resolve(name, self._tree(), str(self._setting("FALLBACK_MODEL_DIR")))
        if Path(resolved).is_absolute() and not looks_like_path(name):
            self._titles[resolved] = name.strip()
        return resolved

    def title(self, model: str) -> str:
        """Return the name to show: ``ollama:llama3.2:3b`` says more than the file behind it."""
        return self._titles.get(model, model)

    def with_title(self, loaded: LoadedModel | None) -> LoadedModel | None:
        """Return ``loaded`` under the name to show."""
        if loaded is None or loaded.info.name not in self._titles:
            return loaded
        return replace(loaded, info=replace(loaded.info, name=self._titles[loaded.info.name]))

    def forget(self) -> None:
        """Choose again next time, as a setting changed."""
        self._auto.forget()

    def reject(self, model: str) -> bool:
        """Rule out a model that could not be loaded; True if it was our choice and another one is meant now."""
        return self.is_automatic() and self._auto.reject(model)

    @property
    def own_choice(self) -> str:
        """Our own choice as a setting; empty before the first."""
        return self._auto.setting

    def is_automatic(self) -> bool:
        """Return whether the choice is ours: ``auto``, or no model was set and the default is missing."""
        return is_auto(str(self._setting(MODEL))) or self.is_unchosen()

    def choose_again(self, loaded: LoadedModel | None) -> str:
        """Choose again; return the reason if another model is meant now, else empty."""
        return self._auto.why if self.is_automatic() and self._auto.choose_again(loaded) else ""
