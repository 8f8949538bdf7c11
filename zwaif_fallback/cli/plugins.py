"""``plugins``: which plugins there are and in which order they are called; ``check``, ``try``, ``block``, ``new`` …"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import (
    EXIT_OK,
    EXIT_PROBLEM,
    ZWAIF,
    ZWAIF_CHANGED,
    Arguments,
    command,
    with_json,
    with_plugins_dir,
    with_zwaif,
)

if TYPE_CHECKING:
    from zwaif_fallback.zwaif_tree import LoadedPlugins
    from zwaif_hooks.plugins import PluginManager

_ORDER = "To change the order, list names in ZWAIF_PLUGIN_ORDER (in Z-Waif's .env): these are called first."
_RESTART = "It takes effect when Z-Waif starts again."


def add(commands: Any) -> None:
    list_ = with_plugins_dir(with_json(with_zwaif(command(commands, "plugins", _list, "list Z-Waif's plugins"))))
    parts = list_.add_subparsers(title="commands", metavar="COMMAND")

    def part(name: str, run: Callable[[Arguments], int], help: str, zwaif: str = ZWAIF) -> Any:
        made = command(parts, name, run, help)
        made.argument_default = argparse.SUPPRESS  # a default would overwrite what precedes the name of the command
        return with_zwaif(made, zwaif)

    with_plugins_dir(with_json(part("explain", _explain, "show the order in which plugins are called, and why")))
    change = "NAME in ZWAIF_BLOCK_PLUGINS in Z-Waif's .env"
    for name, run, help in (
        ("block", _block, f"do not load a plugin: put {change}"),
        ("unblock", _unblock, f"load a plugin again: remove {change}"),
    ):
        changing = with_json(part(name, run, help, ZWAIF_CHANGED))
        changing.add_argument("name", metavar="NAME", help="name of the plugin")


def _list(parsed: Arguments) -> int:
    from zwaif_fallback.cli.status_facts import plugin_facts

    plugins = loaded(parsed)
    facts = plugin_facts(plugins.manager)
    if parsed.json:
        console.say_json(facts)
    elif facts:
        rows = [
            (one["name"], one["version"], one["package"], one["state"], ", ".join(one["hooks"]) or one["why"])
            for one in facts
        ]
        console.table(("Plugin", "Version", "Package", "State", "Hooks"), rows, ("bold", "", "dim"))
    else:
        console.say("No plugin is loaded: ZWAIF_PLUGINS is OFF in this environment.")
    for line in plugins.problems:
        console.error(line)
    return EXIT_PROBLEM if any(one["state"] == "broken" or one["left_out"] for one in facts) else EXIT_OK


def _explain(parsed: Arguments) -> int:
    plugins = loaded(parsed)
    facts = _order(plugins.manager)
    if parsed.json:
        console.say_json(facts)
        return EXIT_OK
    for hook in facts:
        console.say(f"{hook['hook']}: {'until one has a result' if hook['first_result'] else 'all of them'}", "bold")
        rows = [(f"  {number}.", one["plugin"], one["why"]) for number, one in enumerate(hook["plugins"], 1)]
        for line in console.columns(rows):
            console.say(line)
    console.say()
    console.say(_ORDER)
    return EXIT_OK


def _order(manager: PluginManager) -> list[dict[str, Any]]:
    """Return every hook that a plugin implements, with the plugins in the order of calls."""
    from zwaif_hooks.plugins.checks import hook_names

    return [
        {
            "hook": hook,
            "first_result": manager.first_result_counts(hook),
            "plugins": [{"plugin": name, "why": why} for name, why in turns],
        }
        for hook in hook_names()
        if (turns := manager.turns(hook))
    ]


def _block(parsed: Arguments) -> int:
    from zwaif_fallback.zwaif_tree import require_zwaif_folder

    tree = require_zwaif_folder(parsed.zwaif)
    name, names = block(parsed.name, tree)
    hint = "Nothing answers in an outage then. To undo: zwaif-fallback plugins unblock fallback"
    return _changed(parsed, tree, names, f"{name} is not loaded.", hint if name == "fallback" else "")


def _unblock(parsed: Arguments) -> int:
    from zwaif_fallback.zwaif_tree import require_zwaif_folder

    tree = require_zwaif_folder(parsed.zwaif)
    return _changed(parsed, tree, unblock(parsed.name, tree), f"{parsed.name} is loaded again.")


def block(name: str, tree: Path) -> tuple[str, list[str]]:
    """Add a plugin to those that ``.env`` blocks. Return its name as its package writes it, and all blocked names.

    Raises:
        FallbackError: There is no such plugin.
        EnvFileError: ``.env`` cannot be read or written.
    """
    from zwaif_fallback.errors import FallbackError
    from zwaif_hooks.host import env_file
    from zwaif_hooks.plugins.discovery import BLOCK_VARIABLE, Names

    known, names = _known(tree), _blocked(tree)
    for line in Names("", name).unknown(known):
        raise FallbackError(f"There is no plugin {name!r}; {line.rpartition('; ')[2]}")
    (name,) = {one for one in known if one.casefold() == name.casefold()}
    if name.casefold() not in {one.casefold() for one in names}:
        names.append(name)
        env_file.write(tree / ".env", BLOCK_VARIABLE, ", ".join(names))
    return name, names


def unblock(name: str, tree: Path) -> list[str]:
    """Remove a plugin from those that ``.env`` blocks. Return the others.

    Raises:
        FallbackError: It is not blocked there.
        EnvFileError: ``.env`` cannot be read or written.
    """
    from zwaif_fallback.errors import FallbackError
    from zwaif_hooks.host import env_file
    from zwaif_hooks.plugins.discovery import BLOCK_VARIABLE

    names = _blocked(tree)
    left = [one for one in names if one.casefold() != name.casefold()]
    if left == names:
        raise FallbackError(f"{name} is not blocked in {tree / '.env'}.")
    env_file.write(tree / ".env", BLOCK_VARIABLE, ", ".join(left))
    return left


def _blocked(tree: Path) -> list[str]:
    from zwaif_hooks.host import env_file
    from zwaif_hooks.plugins.discovery import BLOCK_VARIABLE

    text = env_file.read(tree / ".env").get(BLOCK_VARIABLE, "")
    return [name.strip() for name in text.split(",") if name.strip()]


def _known(tree: Path) -> list[str]:
    """Return the names of all plugins, without importing any."""
    from zwaif_fallback.zwaif_tree import env_values
    from zwaif_hooks.plugins.discovery import FOLDER_VARIABLE, UnusableFolder, in_folder, installed

    folder = env_values(tree, os.environ).get(FOLDER_VARIABLE, "")
    try:
        files = in_folder(folder) if folder.strip() else []
    except UnusableFolder:  # `plugins` reports it
        files = []
    return [one.name for one in installed()] + [one.name for one in files]


def _changed(parsed: Arguments, tree: Path, names: list[str], done: str, hint: str = "") -> int:
    from zwaif_hooks.plugins.discovery import BLOCK_VARIABLE

    overruled = BLOCK_VARIABLE in os.environ
    if parsed.json:
        console.say_json({"blocked": names, "file": str(tree / ".env"), "overruled": overruled})
        return EXIT_OK
    console.say(f"{done} {_RESTART}   ({BLOCK_VARIABLE} = {', '.join(names)} in {tree / '.env'})")
    if hint:
        console.say(hint)
    if overruled:
        console.say(f"{BLOCK_VARIABLE} is also an environment variable, which takes precedence: change it there.")
    return EXIT_OK


def loaded(parsed: Arguments, **options: str) -> LoadedPlugins:
    """Load the plugins as Z-Waif would. ``options`` replace the variables of these names."""
    import traceback

    from zwaif_fallback.zwaif_tree import load_plugins, settings_store, zwaif_folder

    store = settings_store(zwaif_folder(parsed.zwaif), os.environ)
    details = traceback.print_exception if parsed.debug else lambda error: None
    return load_plugins(store, os.environ, parsed.plugins_dir, options, details=details)
