"""A model that is on this computer already, for whoever has chosen one that is not."""

from __future__ import annotations

from pathlib import Path

from zwaif_fallback.choosing.auto import Wishes, choose_here, pick
from zwaif_fallback.choosing.ranking import NO_ENGINE, Abilities
from zwaif_fallback.hardware import memory_now
from zwaif_fallback.models.search import find_models


def instead(tree: Path | None, model_dir: str = "") -> str:
    """One line with the best of those that fit and the command that takes it; empty where none does.

    Looks at the disk: some hundredths of a second, up to a second for hundreds of files.
    """
    wishes = Wishes(tree, model_dir)
    choice = choose_here(wishes)
    if choice is None:
        return without_engine(wishes)
    setting = choice.model.setting
    name = f'"{setting}"' if " " in setting else setting
    return f"On this computer already: {setting}. To take it: zwaif-fallback settings set API_FALLBACK_MODEL {name}"


def without_engine(wishes: Wishes) -> str:
    """One line with the best GGUF model, where nothing but the package that runs those is missing; else empty."""
    models = find_models(wishes.tree, wishes.model_dir).models
    choice = pick(models, wishes, memory_now(), Abilities(gguf=True))
    return f"On this computer already: {choice.model.setting}. It {NO_ENGINE}" if choice else ""
