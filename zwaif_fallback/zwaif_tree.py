"""The Z-Waif folder that a command works on, and its settings. Nothing here changes a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from zwaif_fallback.errors import FallbackError
from zwaif_fallback.models import plugin_engines
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks.engines import EngineSpec
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings_store import Setting, SettingsStore
from zwaif_hooks.host.tree import find_tree
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.plugins.discovery import FOLDER_VARIABLE, TRACE_VARIABLE
from zwaif_hooks.startup import switched_off


class UsageError(FallbackError):
    """The command line makes no sense."""


def zwaif_folder(given: str | None) -> Path | None:
    """Return the given folder, or the current one if it is a Z-Waif; otherwise None.

    Raises:
        UsageError: The given folder is not a Z-Waif.
    """
    folder = Path(given).expanduser() if given else Path.cwd()
    root = find_tree(folder / "main.py")
    if root is not None:
        return Path(root)
    if not given:
        return None
    problem = "is not a Z-Waif folder" if folder.is_dir() else "is not a folder"
    raise UsageError(f"{folder} {problem}. Give the folder that holds Z-Waif's main.py.")


def require_zwaif_folder(given: str | None) -> Path:
    """As :func:`zwaif_folder`, for commands that need a Z-Waif.

    Raises:
        UsageError: There is none.
    """
    folder = zwaif_folder(given)
    if folder is None:
        raise UsageError("This is not a Z-Waif folder. Run the command in Z-Waif's folder, or add --zwaif FOLDER")
    return folder


def settings_store(tree: Path | None, environ: Mapping[str, str]) -> SettingsStore:
    """Return the settings as Z-Waif would see them if it were started from this console. Problems are not printed.

    ``environ`` is copied, so a value that a command tries out does not leak into its own process.
    """
    return SettingsStore(SETTINGS, tree / ".env" if tree else None, dict(environ), say=lambda line: None)


@dataclass(frozen=True)
class LoadedPlugins:
    """The plugins as Z-Waif would load them."""

    manager: PluginManager
    problems: list[str]
    """One line for each problem with a plugin."""


def load_plugins(
    store: SettingsStore,
    environ: Mapping[str, str],
    folder: str | None = None,
    options: Mapping[str, str] | None = None,
    prepare: Callable[[PluginManager], object] = lambda manager: None,
    tell: Callable[[str, BaseException | None], object] = lambda line, error: None,
    trace: Callable[[str], object] | None = None,
) -> LoadedPlugins:
    """Import all installed plugins. Add their settings to ``store``, and find their engines.

    What plugins print goes to standard error, for all threads of this process: call it before others print.

    Args:
        folder: Of plugins in single files, in place of ``ZWAIF_PLUGINS_DIR``.
        options: Values of other variables, in place of those in the environment and in ``.env``.
        prepare: Gets the manager before any plugin is loaded.
        tell: Gets each problem when it happens, with its exception if it has one.
        trace: Gets the lines of the trace, if the user switched that on; None: there is none.

    Raises:
        UsageError: There is no such folder.
    """
    problems: list[str] = []
    chosen = {**({TRACE_VARIABLE: ""} if trace is None else {}), **(options or {})}
    if folder is not None:
        chosen[FOLDER_VARIABLE] = str(existing_folder(folder))

    def option(name: str) -> str:
        return chosen[name] if name in chosen else environ.get(name) or store.text_of(name)

    def report(line: str, error: BaseException | None) -> None:
        problems.append(line)
        tell(line, error)

    manager = PluginManager(report, option, trace=trace)
    prepare(manager)
    if not switched_off(environ):
        with redirect_stdout(sys.stderr):
            manager.discover()
            manager.register_settings(store)
            plugin_engines.use(manager.engines)
    return LoadedPlugins(manager, problems)


def existing_folder(text: str) -> Path:
    """Return the full path of a folder that the user named.

    Raises:
        UsageError: There is no such folder.
    """
    folder = Path(text).expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    return folder


@contextmanager
def plugin_engines_found(given: str | None, environ: Mapping[str, str], folder: str | None = None) -> Iterator[None]:
    """Let a command find the models of plugins' engines. The plugins are imported when a model is looked for.

    ``given``: the folder of :func:`zwaif_folder`, whose ``.env`` may block plugins. ``folder``: as in
    :func:`load_plugins`.
    """

    def at_first() -> list[tuple[str, EngineSpec]]:
        plugin_engines.use(tuple)
        tree = zwaif_folder(given)
        load_plugins(settings_store(tree, environ), environ, folder)
        return plugin_engines.declared()

    plugin_engines.use(at_first)
    try:
        yield
    finally:
        plugin_engines.use(tuple)


def env_values(tree: Path | None, environ: Mapping[str, str]) -> dict[str, str]:
    """Return every key that Z-Waif would see; exported ones take precedence, as with its own ``load_dotenv``.

    Raises:
        EnvFileError: ``.env`` exists but cannot be read.
    """
    return {**(env_file.read(tree / ".env") if tree else {}), **environ}


def value_source(setting: Setting, tree: Path | None, environ: Mapping[str, str]) -> str:
    """Return where a setting's value comes from: ``environment``, ``.env`` or ``default`` (which empty values mean)."""
    if setting.name in environ:
        return "environment" if environ[setting.name].strip() else "default"
    return ".env" if env_values(tree, {}).get(setting.name, "").strip() else "default"


def model_setting(text: str, tree: Path | None, environ: Mapping[str, str]) -> str:
    """Return what to write into the setting for a model as the user calls it.

    That is a row number of ``zwaif-fallback models``, the short name of an offer, or the name of a model on this
    computer. Any other text is returned unchanged.

    Raises:
        UsageError: The list has no such row.
        ModelNotFound: Several models have this name.
    """
    from zwaif_fallback.models import catalogue  # imported late: most commands name no model
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
    raise UsageError(f"The list of models has no number {number}. To see it: zwaif-fallback models")
