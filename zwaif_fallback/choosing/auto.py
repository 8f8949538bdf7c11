"""``API_FALLBACK_MODEL = auto``: choose the best model that fits, when one is needed and again when memory is free.

Modules that read models are imported when a choice is made, as Z-Waif's start waits for this module.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zwaif_fallback.engine_types import LoadedModel
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory, memory_now
from zwaif_hooks.host import env_file

if TYPE_CHECKING:
    from zwaif_fallback.choosing.memory_fit import Abilities
    from zwaif_fallback.choosing.ranking import Choice
    from zwaif_fallback.models.search import FoundModel

AUTO = "auto"


def is_auto(name: str) -> bool:
    return name.strip().strip("\"'").strip().casefold() == AUTO


@dataclass(frozen=True)
class Constraints:
    """The settings that a choice depends on."""

    tree: Path | None = None
    model_dir: str = ""
    window: int = 0
    device: str = "auto"
    quantization: str = "auto"
    llama_server: str = "auto"

    @property
    def load_settings(self) -> dict[str, Any]:
        """Keyword arguments of :func:`.memory_fit.fit` and :func:`.ranking.choose`."""
        names = ("window", "device", "quantization", "llama_server")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(cls, setting: Callable[[str], Any], tree: Path | None) -> Constraints:
        """Read them, given a function that returns a setting's value."""
        return cls(
            tree,
            str(setting("FALLBACK_MODEL_DIR")),
            int(setting("API_FALLBACK_CONTEXT_WINDOW")),
            str(setting("API_FALLBACK_DEVICE")),
            str(setting("API_FALLBACK_QUANTIZATION")),
            str(setting("API_FALLBACK_LLAMA_SERVER")),
        )


def choose_here(constraints: Constraints, memory: Memory | None = None, without: Collection[str] = ()) -> Choice | None:
    """Return the best model on this computer; None if none fits. Reads the disk for some hundredths of a second.

    Args:
        without: models that could not be loaded, as named by :func:`loadable`.
    """
    from zwaif_fallback.models.search import find_models

    models = [
        model for model in find_models(constraints.tree, constraints.model_dir).models if loadable(model) not in without
    ]
    return pick(models, constraints, memory or memory_now())


def pick(
    models: Sequence[FoundModel], constraints: Constraints, memory: Memory, can: Abilities | None = None
) -> Choice | None:
    """Choose from ``models`` like :func:`choose_here`, but never a plugin\'s.

    ``can`` defaults to what the installed libraries support."""
    from zwaif_fallback.choosing.ranking import choose
    from zwaif_fallback.choosing.server_model import served_model
    from zwaif_fallback.models.facts import PLUGIN

    return choose(
        [model for model in models if model.facts.format != PLUGIN],  # only for users who choose them
        memory,
        served=served_model(env_values(constraints.tree), models),
        **constraints.load_settings,
        can=can,
    )


def env_values(tree: Path | None) -> Mapping[str, str]:
    """Return Z-Waif's ``.env`` overridden by the environment, as its own ``load_dotenv`` does."""
    try:
        return {**(_parsed(tree / ".env", env_file.stamp(tree / ".env")) if tree else {}), **os.environ}
    except env_file.EnvFileError:  # Z-Waif's start reports it; the choice works without the file.
        return dict(os.environ)


@lru_cache(maxsize=4)
def _parsed(path: Path, stamp: object) -> Mapping[str, str]:
    """Parse only after a change: parsing takes milliseconds, and the Settings tab asks every second."""
    return env_file.read(path)


def loadable(model: FoundModel) -> str:
    """Return what the engines load: a hub id for a repository in the cache, a plugin's own name, else a path."""
    from zwaif_fallback.models.facts import PLUGIN
    from zwaif_fallback.models.program_folders import HUB

    is_named = model.facts.format == PLUGIN or (model.source == HUB and model.path.is_dir())
    return model.setting if is_named else str(model.path)


def nothing_fits() -> ModelNotFound:
    return ModelNotFound(
        "API_FALLBACK_MODEL is auto, but no model on this computer fits into the free memory. Close other programs, "
        "or download a smaller one: zwaif-fallback models lists some."
    )


class AutoModel:
    """The current choice of ``auto``. It changes only when asked to choose again: loading takes seconds, and the free
    memory changes all the time, not least because of the model itself.

    Args:
        best: returns the choice for a given memory, without the named models.
        memory: called for each choice.
    """

    def __init__(
        self, best: Callable[[Memory, Collection[str]], Choice | None], memory: Callable[[], Memory] = memory_now
    ) -> None:
        self._best, self._memory = best, memory
        self._lock = threading.Lock()
        self._choice: Choice | None = None
        self._rejected: set[str] = set()

    @property
    def why(self) -> str:
        """The reason for the current choice in one line; empty before the first."""
        return self._choice.why if self._choice else ""

    @property
    def setting(self) -> str:
        """The current choice as a setting; empty before the first."""
        return self._choice.model.setting if self._choice else ""

    def model(self) -> str:
        """Return what to load.

        Raises:
            ModelNotFound: nothing fits.
        """
        with self._lock:
            if self._choice is None or not self._choice.model.path.exists():
                self._choice = self._best(self._memory(), self._rejected)
            if self._choice is None:
                raise nothing_fits()
            return loadable(self._choice.model)

    def choose_again(self, loaded: LoadedModel | None = None) -> bool:
        """Choose again; return whether the choice changed because a clearly better model fits now.

        Args:
            loaded: the local model in use, whose memory a switch would release.
        """
        from zwaif_fallback.choosing.ranking import is_clearly_better

        best = self._best(with_memory_returned(self._memory(), loaded), self._rejected)
        with self._lock:
            old, self._choice = self._choice, self._choice or best
            if best is None or old is None or not is_clearly_better(best, old):
                return False
            self._choice = best
            return True

    def forget(self) -> None:
        """Choose again next time, as the settings changed."""
        with self._lock:
            self._choice = None
            self._rejected.clear()

    def reject(self, model: str) -> bool:
        """Rule out a model that could not be loaded; False if it was not chosen here."""
        with self._lock:
            if self._choice is None or loadable(self._choice.model) != model:
                return False
            self._rejected.add(model)
            self._choice = None
            return True


def with_memory_returned(memory: Memory, loaded: LoadedModel | None) -> Memory:
    """Return the memory as if the loaded model were gone."""
    if loaded is None:
        return memory
    if loaded.device == "cpu":
        return replace(memory, ram_free=memory.ram_free + loaded.memory_bytes)
    best = memory.best_gpu
    cards = tuple(
        replace(card, free=min(card.total, card.free + loaded.memory_bytes)) if card is best else card
        for card in memory.gpus
    )
    return replace(memory, gpus=cards)
