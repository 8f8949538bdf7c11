"""``API_FALLBACK_MODEL = auto``: the best model that fits, chosen when it is needed, and again when memory is free.

What looks at models is imported when a choice is made: Z-Waif's start waits for this module.
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
class Wishes:
    """The settings that count for the choice."""

    tree: Path | None = None
    model_dir: str = ""
    window: int = 0
    device: str = "auto"
    quantization: str = "auto"

    @classmethod
    def of(cls, setting: Callable[[str], Any], tree: Path | None) -> Wishes:
        """Those of a Z-Waif, by a way to ask for a setting's value."""
        return cls(
            tree,
            str(setting("FALLBACK_MODEL_DIR")),
            int(setting("API_FALLBACK_CONTEXT_WINDOW")),
            str(setting("API_FALLBACK_DEVICE")),
            str(setting("API_FALLBACK_QUANTIZATION")),
        )


def choose_here(wishes: Wishes, memory: Memory | None = None, without: Collection[str] = ()) -> Choice | None:
    """The best of the models on this computer; None where none fits. Looks at the disk: some hundredths of a second.

    Args:
        without: models that could not be loaded, as :func:`loadable` names them.
    """
    from zwaif_fallback.models.search import find_models

    models = [model for model in find_models(wishes.tree, wishes.model_dir).models if loadable(model) not in without]
    return pick(models, wishes, memory or memory_now())


def pick(models: Sequence[FoundModel], wishes: Wishes, memory: Memory, can: Abilities | None = None) -> Choice | None:
    """As :func:`choose_here`, among these; ``can`` is what the installed libraries can do, by default what is seen."""
    from zwaif_fallback.choosing.ranking import choose
    from zwaif_fallback.choosing.server_model import served_model

    return choose(
        models,
        memory,
        served=served_model(env_values(wishes.tree), models),
        window=wishes.window,
        device=wishes.device,
        quantization=wishes.quantization,
        can=can,
    )


def env_values(tree: Path | None) -> Mapping[str, str]:
    """Z-Waif's own settings: its ``.env`` under what is exported, as its ``load_dotenv`` has it."""
    try:
        return {**(_parsed(tree / ".env", env_file.stamp(tree / ".env")) if tree else {}), **os.environ}
    except env_file.EnvFileError:  # Whoever starts Z-Waif is told so; the choice does without.
        return dict(os.environ)


@lru_cache(maxsize=4)
def _parsed(path: Path, stamp: object) -> Mapping[str, str]:
    """Read once for as long as the file stays as it is: parsing takes milliseconds, and a page asks each second."""
    return env_file.read(path)


def loadable(model: FoundModel) -> str:
    """What the engines take: a hub id for a repository in the cache, a path for everything else."""
    from zwaif_fallback.models.program_folders import HUB

    return model.setting if model.source == HUB and model.path.is_dir() else str(model.path)


def nothing_fits() -> ModelNotFound:
    return ModelNotFound(
        "API_FALLBACK_MODEL is auto, but no model on this computer fits the memory that is free. Close other programs, "
        "or bring a smaller one: zwaif-fallback models lists some."
    )


class AutoModel:
    """What ``auto`` means at present. It stays the same until it is asked to choose again: a load takes seconds, and
    the memory that is free changes all the time, not least by the model itself.

    Args:
        best: the choice for a given memory, without the models named.
        memory: asked when a choice is made.
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
        """One line on the present choice; empty before the first."""
        return self._choice.why if self._choice else ""

    @property
    def setting(self) -> str:
        """The present choice as one would write it; empty before the first."""
        return self._choice.model.setting if self._choice else ""

    def model(self) -> str:
        """What to load.

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
        """Whether the choice is now another: a clearly better one fits, or none was made.

        Args:
            loaded: the local model that serves, whose memory would be given back in a switch.
        """
        from zwaif_fallback.choosing.ranking import is_clearly_better

        best = self._best(with_its_memory_back(self._memory(), loaded), self._rejected)
        with self._lock:
            old, self._choice = self._choice, self._choice or best
            if best is None or old is None or not is_clearly_better(best, old):
                return False
            self._choice = best
            return True

    def forget(self) -> None:
        """Choose afresh at the next question: the settings changed."""
        with self._lock:
            self._choice = None
            self._rejected.clear()

    def reject(self, model: str) -> bool:
        """It could not be loaded: another is chosen at the next question. False where it was not chosen here."""
        with self._lock:
            if self._choice is None or loadable(self._choice.model) != model:
                return False
            self._rejected.add(model)
            self._choice = None
            return True


def with_its_memory_back(memory: Memory, loaded: LoadedModel | None) -> Memory:
    """The memory as if the model that serves were gone."""
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
