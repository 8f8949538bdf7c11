"""Nobody chose a model, and the default one is not on this computer: the best of those that are here answers.

A choice is never overridden: who named a model that is not here is told so, and how to bring it (``instead``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zwaif_fallback import catalogue, model_files
from zwaif_fallback.models.auto import Wishes, choose_here, is_auto, loadable

MODEL = "API_FALLBACK_MODEL"


@dataclass(frozen=True)
class Answering:
    """The model that would answer now."""

    model: str
    """What is loaded: a path, or a name on the hub."""
    title: str
    """The same as a user would write it; empty where that is the setting itself."""
    notice: str = ""
    """Why it is another than the setting names; empty where it is that one."""


def is_chosen(values: Mapping[str, str]) -> bool:
    """Whether the user named a model; an empty value is no choice.

    Args:
        values: Z-Waif's ``.env`` under what is exported.
    """
    return bool(values.get(MODEL, "").strip())


def notice(title: str) -> str:
    """One line for the user."""
    return (
        f"{MODEL} is not set and {catalogue.DEFAULT} is not here, so {title} answers, which was found on this "
        f"computer. Choose another in Z-Waif's Settings tab, or with: zwaif-fallback settings set {MODEL} NAME"
    )


def takes_what_is_here(resolved: str, chosen: bool) -> bool:
    """Whether a found model may answer in place of what the setting means: nobody chose that, and it is not here."""
    return not chosen and bool(resolved) and not model_files.is_on_this_machine(resolved)


def answering(setting: str, chosen: bool, wishes: Wishes) -> Answering:
    """What answers for a value of ``API_FALLBACK_MODEL``. Looks at the disks where nothing was chosen, or ``auto``.

    Raises:
        ModelNotFound: the value means nothing.
    """
    resolved = model_files.resolve(setting, wishes.tree, wishes.model_dir)
    if takes_what_is_here(resolved, chosen) and (best := choose_here(wishes)) is not None:
        return Answering(loadable(best.model), best.model.setting, notice(best.model.setting))
    return Answering(resolved, resolved if is_auto(setting) else "")
