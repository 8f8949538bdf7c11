"""From the settings to the model that is loaded, and back to the name by which the user knows it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import AutoModel, Wishes, choose_here, env_values, is_auto
from zwaif_fallback.choosing.no_model_chosen import LEFT_BEHIND, MODEL, in_its_place, is_chosen, notice
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
        setting: a setting's value.
        tree: Z-Waif's folder.
        best: what ``auto`` takes for a given memory.
        named: whether the user named a model; by default Z-Waif's ``.env`` and the environment are asked.
        say: tells the user one line.
    """

    def __init__(
        self,
        setting: Callable[[str], Any],
        tree: Callable[[], Path | None],
        best: Callable[[Wishes, Memory, Collection[str]], Choice | None] = choose_here,
        named: Callable[[], bool] | None = None,
        say: Callable[[str], object] = lambda line: None,
    ) -> None:
        self._setting, self._tree = setting, tree
        self._auto = AutoModel(lambda memory, without: best(Wishes.of(setting, tree()), memory, without))
        self._named = named or (lambda: is_chosen(env_values(self._tree())))
        self._say = say
        self._titles: dict[str, str] = {}
        self._told: set[str] = set()
        self._telling = threading.Lock()
        """Whoever chooses the same at that moment waits: the line comes before all others about the model."""

    def current(self) -> str:
        """What to load: what the setting names or, where nobody set it and the default is not here, the best that is.

        Raises:
            ModelNotFound: the setting means nothing.
        """
        return self.found_instead() or self.wanted()

    def wanted(self) -> str:
        """What the setting names, here or not; the default where an older release left a path to a file that is gone.

        Raises:
            ModelNotFound: the setting means nothing.
        """
        name = str(self._setting(MODEL))
        try:
            return self.resolve(name)
        except ModelNotFound as error:
            return in_its_place(name, error)

    def found_instead(self) -> str:
        """The best of the models here, where nobody chose and the default is missing; else empty. Says so once.

        The first time it looks at the disks: some hundredths of a second, up to a second for hundreds of files.
        """
        found = ""
        if self.is_unchosen():
            with contextlib.suppress(ModelNotFound):  # Nothing fits: the default's own line says how to bring it here.
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
        """Whether nobody named a model, and the default, which counts then, is not on this computer."""
        if str(self._setting(MODEL)) not in (catalogue.DEFAULT, LEFT_BEHIND):
            return False
        with contextlib.suppress(ModelNotFound):
            if resolve_name.is_on_this_machine(self.wanted()):
                return False
        return not self._named()

    def not_here(self, model: str) -> ModelNotFound:
        """The error for a model that is not on this computer; who chose none is led to the best for it."""
        if self.is_unchosen():
            from zwaif_fallback.choosing.suggestions import nothing_here  # late: Z-Waif's start waits for this module

            return nothing_here(Wishes.of(self._setting, self._tree()))
        if Path(model).is_absolute():
            return ModelNotFound(
                f"There are no complete weights (*.safetensors) in {model}. Download the model again, with all its "
                "files."
            )
        return resolve_name.not_here(model)

    def resolve(self, name: str) -> str:
        """Like :func:`.resolve_name.resolve`; ``auto`` keeps its meaning until it is chosen again."""
        if is_auto(name):
            resolved = self._auto.model()
            self._titles[resolved] = self._auto.setting
            return resolved
        resolved = resolve_name.resolve(name, self._tree(), str(self._setting("FALLBACK_MODEL_DIR")))
        if Path(resolved).is_absolute() and not looks_like_path(name):
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
        """A setting changed: what is left to us is chosen afresh."""
        self._auto.forget()

    def reject(self, model: str) -> bool:
        """It could not be loaded. True where it had been chosen here, and another is meant now."""
        return self.is_ours_to_choose() and self._auto.reject(model)

    @property
    def taken(self) -> str:
        """What was chosen here, as one would write it; empty before the first choice."""
        return self._auto.setting

    def is_ours_to_choose(self) -> bool:
        """Whether the user left the choice to us: ``auto``, or nothing was chosen and the default is not here."""
        return is_auto(str(self._setting(MODEL))) or self.is_unchosen()

    def choose_again(self, loaded: LoadedModel | None) -> str:
        """Why another model is meant now; empty where it is not."""
        return self._auto.why if self.is_ours_to_choose() and self._auto.choose_again(loaded) else ""
