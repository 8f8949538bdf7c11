"""What the checks look at: one Z-Waif, its settings, this environment and this computer."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path

from zwaif_fallback import hardware
from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import Constraints
from zwaif_fallback.choosing.memory_fit import Abilities, abilities
from zwaif_fallback.choosing.no_model_chosen import MODEL, AnsweringModel, answering, is_chosen
from zwaif_fallback.doctor import child_process
from zwaif_fallback.doctor.child_process import HookState, Imported
from zwaif_fallback.errors import ModelError, ModelNotFound
from zwaif_fallback.llama_servers import LlamaProgram, find
from zwaif_fallback.models.model_files import gguf_in
from zwaif_fallback.zwaif_tree import LoadedPlugins, env_values, load_plugins, settings_store
from zwaif_hooks.host.env_file import EnvFileError
from zwaif_hooks.host.settings_store import SettingsStore


def version_of(name: str) -> str | None:
    """Return the version of an installed distribution, or None."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@dataclass
class Situation:
    """What the checks look at. Tests replace parts of it; nothing here imports torch into this process."""

    tree: Path | None
    environ: Mapping[str, str]
    version_of: Callable[[str], str | None] = version_of
    imported: Callable[[str], Imported] = child_process.import_in_a_child
    """Imports a library in a child process."""
    hook: Callable[[Path | None, Mapping[str, str]], HookState] = child_process.look_for_the_hook
    memory: Callable[[], hardware.Memory] = hardware.memory_now
    abilities: Callable[[], Abilities] = abilities
    find_llama_server: Callable[[str, Callable[[str], None]], LlamaProgram | None] = find
    free_bytes: Callable[[Path], int] = lambda place: shutil.disk_usage(place).free
    prefix: Path = field(default_factory=lambda: Path(sys.prefix))
    """The environment this command runs in."""

    @property
    def store(self) -> SettingsStore:
        """The settings of all plugins."""
        return self._loaded[0]

    @property
    def plugins(self) -> LoadedPlugins:
        """The plugins as Z-Waif would load them."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[SettingsStore, LoadedPlugins]:
        """Made before the checks run, because it imports the plugins."""
        store = settings_store(self.tree, self.environ)
        return store, load_plugins(store, self.environ)

    @cached_property
    def env(self) -> dict[str, str]:
        """Every key as Z-Waif will see it. Without ``.env`` if that cannot be read, which has its own check."""
        try:
            return env_values(self.tree, self.environ)
        except EnvFileError:
            return dict(self.environ)

    @cached_property
    def cards(self) -> tuple[hardware.Gpu, ...]:
        """NVIDIA graphics cards."""
        return self.memory().gpus

    @property
    def constraints(self) -> Constraints:
        """The settings that affect the choice of a model."""
        return Constraints.of(self.store.get, self.tree)

    @cached_property
    def answering(self) -> AnsweringModel | ModelNotFound:
        """The model that answers, or why there is none. Cached, because it may look at every model."""
        try:
            return answering(self.text(MODEL), is_chosen(self.env), self.constraints)
        except ModelNotFound as error:
            return error

    @property
    def model(self) -> str | ModelNotFound:
        """What would be loaded, or why nothing would be."""
        return self.answering if isinstance(self.answering, ModelNotFound) else self.answering.model

    @property
    def notice(self) -> str:
        """Why a model other than the default answers; empty if the default does."""
        return "" if isinstance(self.answering, ModelNotFound) else self.answering.notice

    @property
    def title(self) -> str:
        """The model's name as a user would write it."""
        title = "" if isinstance(self.answering, ModelNotFound) else self.answering.title
        return title or self.text(MODEL)

    @cached_property
    def place(self) -> Path | None:
        """The place of the model's files; None if they are not here or the name is unknown."""
        if isinstance(self.model, ModelNotFound):
            return None
        return Path(self.model) if Path(self.model).is_absolute() else resolve_name.cached_snapshot(self.model)

    @cached_property
    def gguf(self) -> Path | None:
        """The GGUF file that would be loaded; None for other models, and for a folder of several files."""
        try:
            return gguf_in(self.place) if self.place else None
        except ModelError:
            return None

    def text(self, name: str) -> str:
        """Return a setting as text."""
        return str(self.store.get(name)).strip()
