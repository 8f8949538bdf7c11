"""Nobody chose a model, and the default one is not on this computer: the best of those that are here answers.

A choice is never overridden: who named a model that is not here is told so, and how to bring it (``instead``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import Wishes, choose_here, is_auto, loadable
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.name_syntax import looks_like_path

MODEL = "API_FALLBACK_MODEL"
LEFT_BEHIND = "models/tinyllama-1.1b-chat-v1.0.Q4_0.gguf"
"""So says the ``.env_example`` of Z-Waif v1.14-R4, which comes without that file: whoever copied it chose nothing."""


@dataclass(frozen=True)
class AnsweringModel:
    """The model that would answer now."""

    model: str
    """What is loaded: a path, or a name on the hub."""
    title: str
    """The same as a user would write it; empty where that is the setting itself."""
    notice: str = ""
    """Why it is another than the setting names; empty where it is that one."""


def is_chosen(values: Mapping[str, str]) -> bool:
    """Whether the user named a model; an empty value is no choice, nor is what an example file said.

    Args:
        values: Z-Waif's ``.env`` under what is exported.
    """
    return values.get(MODEL, "").strip() not in ("", LEFT_BEHIND)


def wrong(setting: str, error: ModelNotFound) -> str:
    """One line for a value that means no model."""
    return str(error) if is_auto(setting) else f"{MODEL} is {setting!r}. {error}"


def notice(title: str, setting: str) -> str:
    """One line for the user."""
    missing = f"is not set and {catalogue.DEFAULT} is not here"
    if setting == LEFT_BEHIND:
        missing = f"is {setting}, as in an example file of Z-Waif's, and that is not here"
    return (
        f"{MODEL} {missing}, so {title} answers, which was found on this computer. Choose another in Z-Waif's Settings "
        f"tab, or with: zwaif-fallback settings set {MODEL} NAME"
    )


def counts(setting: str, wishes: Wishes) -> str:
    """What a value means, here or not; the default where an older release left a path to a file that is gone.

    Raises:
        ModelNotFound: it means nothing.
    """
    try:
        return resolve_name.resolve(setting, wishes.tree, wishes.model_dir)
    except ModelNotFound as error:
        return in_its_place(setting, error)


def in_its_place(setting: str, error: ModelNotFound) -> str:
    """What counts where a value means nothing: the default, if that is here and the value is a path to what is gone.

    Raises:
        ModelNotFound: ``error``, in every other case.
    """
    if looks_like_path(setting) and resolve_name.is_on_this_machine(catalogue.DEFAULT):
        return catalogue.DEFAULT
    raise error


def takes_what_is_here(resolved: str, chosen: bool) -> bool:
    """Whether a found model may answer in place of what the setting means: nobody chose that, and it is not here."""
    return not (chosen or (resolved and resolve_name.is_on_this_machine(resolved)))


def answering(setting: str, chosen: bool, wishes: Wishes) -> AnsweringModel:
    """What answers for a value of ``API_FALLBACK_MODEL``. Looks at the disks where nothing was chosen, or ``auto``.

    Raises:
        ModelNotFound: the value means nothing.
    """
    resolved, wrong = "", None
    try:
        resolved = counts(setting, wishes)
    except ModelNotFound as error:
        wrong = error
    if takes_what_is_here(resolved, chosen) and (best := choose_here(wishes)) is not None:
        return AnsweringModel(loadable(best.model), best.model.setting, notice(best.model.setting, setting))
    if wrong is not None:
        raise wrong
    return AnsweringModel(resolved, resolved if is_auto(setting) else "")
