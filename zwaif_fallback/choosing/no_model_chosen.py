"""What answers if no model was set and the default is not on this computer: the best of the models that are here.

A choice is never overridden: if the user set a model that is missing, the error says so and how to get it. Which of the
models is the best is decided in :mod:`.ranking`; while Z-Waif runs, :class:`.ConfiguredModel` remembers the choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import Constraints, choose_here, is_auto, loadable
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.name_syntax import looks_like_path

MODEL = "API_FALLBACK_MODEL"
EXAMPLE_VALUE = "models/tinyllama-1.1b-chat-v1.0.Q4_0.gguf"
"""Value in the ``.env_example`` of Z-Waif v1.14-R4, which lacks that file: a copy of the example is no choice."""


@dataclass(frozen=True)
class AnsweringModel:
    """The model that would answer now."""

    model: str
    """What is loaded: a path or a hub id."""
    title: str
    """The model as a user would write it; empty if that is the setting itself."""
    notice: str = ""
    """Why it differs from the setting; empty if it does not."""


def is_chosen(values: Mapping[str, str]) -> bool:
    """Return whether the user set a model; an empty value or an example file's is no choice.

    Args:
        values: Z-Waif's ``.env`` overridden by the environment.
    """
    return values.get(MODEL, "").strip() not in ("", EXAMPLE_VALUE)


def unresolved_message(setting: str, error: ModelNotFound) -> str:
    """Return one line about a value that means no model."""
    return str(error) if is_auto(setting) else f"{MODEL} is {setting!r}. {error}"


def notice(title: str, setting: str) -> str:
    """Return one line that tells the user which model answers instead, and why."""
    missing = f"is not set and {catalogue.DEFAULT} is not on this computer"
    if setting == EXAMPLE_VALUE:
        missing = f"is {setting}, as in an example file of Z-Waif's, and that is not on this computer"
    return (
        f"{MODEL} {missing}, so {title} answers instead. Choose another in Z-Waif's Settings tab, "
        f"or with: zwaif-fallback settings set {MODEL} NAME"
    )


def resolve_or_default(setting: str, constraints: Constraints) -> str:
    """Return the model that a value means, here or not; the default for an old path to a file that is gone.

    Raises:
        ModelNotFound: it means no model.
    """
    try:
        return resolve_name.resolve(setting, constraints.tree, constraints.model_dir)
    except ModelNotFound as error:
        return default_for_stale_path(setting, error)


def default_for_stale_path(setting: str, error: ModelNotFound) -> str:
    """Return the default if it is here and the value is a path to a missing file.

    Raises:
        ModelNotFound: ``error``, in every other case.
    """
    if looks_like_path(setting) and resolve_name.is_on_this_machine(catalogue.DEFAULT):
        return catalogue.DEFAULT
    raise error


def may_use_found_model(resolved: str, chosen: bool) -> bool:
    """Return whether a found model may answer: no model was set, and the one that applies is missing."""
    return not (chosen or (resolved and resolve_name.is_on_this_machine(resolved)))


def answering(setting: str, chosen: bool, constraints: Constraints) -> AnsweringModel:
    """Return what answers for a value of ``API_FALLBACK_MODEL``. Reads the disks for ``auto`` or if nothing was set.

    Raises:
        ModelNotFound: the value means no model.
    """
    resolved, wrong = "", None
    try:
        resolved = resolve_or_default(setting, constraints)
    except ModelNotFound as error:
        wrong = error
    if may_use_found_model(resolved, chosen) and (best := choose_here(constraints)) is not None:
        return AnsweringModel(loadable(best.model), best.model.setting, notice(best.model.setting, setting))
    if wrong is not None:
        raise wrong
    return AnsweringModel(resolved, resolved if is_auto(setting) else "")
