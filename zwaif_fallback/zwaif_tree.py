"""Which Z-Waif a command is about, and that Z-Waif's settings: only read, never with a change on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from zwaif_fallback.errors import FallbackError
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings import Setting, SettingsStore
from zwaif_hooks.host.tree import find_tree


class UsageError(FallbackError):
    """The command line asks for something that makes no sense."""


def zwaif_folder(given: str | None) -> Path | None:
    """The folder given, or the working directory where that is a Z-Waif; ``None`` where it is not.

    Raises:
        UsageError: a folder was given, and it is no Z-Waif.
    """
    folder = Path(given).expanduser() if given else Path.cwd()
    root = find_tree(folder / "main.py")
    if root is not None:
        return Path(root)
    if not given:
        return None
    problem = "is not a Z-Waif folder" if folder.is_dir() else "is no folder"
    raise UsageError(f"{folder} {problem}. Give the folder that holds Z-Waif's main.py.")


def require_zwaif_folder(given: str | None) -> Path:
    """As :func:`zwaif_folder`, for commands that can do nothing without one.

    Raises:
        UsageError: there is none.
    """
    folder = zwaif_folder(given)
    if folder is None:
        raise UsageError("This is not a Z-Waif folder. Run the command in it, or say where it is: --zwaif FOLDER")
    return folder


def settings_store(tree: Path | None, environ: Mapping[str, str]) -> SettingsStore:
    """The settings as Z-Waif will see them when it is started from this console; silent about problems, which it keeps.

    ``environ`` is copied: what a command tries out must not leak into its own process.
    """
    return SettingsStore(SETTINGS, tree / ".env" if tree else None, dict(environ), say=lambda line: None)


def env_values(tree: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Every key Z-Waif will see, an exported one first, as its own ``load_dotenv`` has it.

    Raises:
        EnvFileError: ``.env`` is there but cannot be read.
    """
    return {**(env_file.read(tree / ".env") if tree else {}), **environ}


def value_source(setting: Setting, tree: Path | None, environ: Mapping[str, str]) -> str:
    """Where a setting's value comes from: ``environment``, ``.env`` or ``default`` (an empty value means that)."""
    if setting.name in environ:
        return "environment" if environ[setting.name].strip() else "default"
    return ".env" if env_values(tree, {}).get(setting.name, "").strip() else "default"


def model_setting(text: str, tree: Path | None, environ: Mapping[str, str]) -> str:
    """What a user calls a model, as a setting: a row number of ``zwaif-fallback models``, a short name of an offer, or
    the name of a model on this computer. Any other text stays as it is.

    Raises:
        UsageError: the list has no such row.
        ModelNotFound: several models are called so.
    """
    from zwaif_fallback.models import catalogue  # late: most commands name no model
    from zwaif_fallback.models.search import find_models
    from zwaif_fallback.models.short_names import find_called

    get = settings_store(tree, environ).get
    if text.strip().isdigit():
        return _row_named(int(text), tree, environ)
    offer = catalogue.find(text)
    if offer is not None:
        return offer.name
    found = find_called(text, find_models(tree, str(get("FALLBACK_MODEL_DIR"))).usable())
    return found.setting if found else text


def _row_named(number: int, tree: Path | None, environ: Mapping[str, str]) -> str:
    from zwaif_fallback.choosing.listing import listed_now

    listed = listed_now(settings_store(tree, environ).get, tree, env_values(tree, environ))
    for row in (*listed["found"], *listed["offered"]):
        if row.get("number") == number:
            return str(row.get("setting") or row["name"])
    raise UsageError(f"The list of models has no number {number}. zwaif-fallback models shows it.")
