"""A model that is on this computer already, for whoever has chosen one that is not."""

from __future__ import annotations

from pathlib import Path

from zwaif_fallback.models.auto import Wishes, choose_here


def instead(tree: Path | None, model_dir: str = "") -> str:
    """One line with the best of those that fit and the command that takes it; empty where none does.

    Looks at the disk: some hundredths of a second, up to a second for hundreds of files.
    """
    choice = choose_here(Wishes(tree, model_dir))
    if choice is None:
        return ""
    setting = choice.model.setting
    name = f'"{setting}"' if " " in setting else setting
    return f"On this computer already: {setting}. To take it: zwaif-fallback settings set API_FALLBACK_MODEL {name}"
