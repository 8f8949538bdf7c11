"""``plugins``: which plugins there are and in which order they are called; ``check``, ``try``, ``block``, ``new`` …"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
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
from zwaif_hooks.masking import masked

if TYPE_CHECKING:
    from zwaif_fallback.cli.plugin_runs import Loaded
    from zwaif_hooks.plugins import PluginManager

_ORDER = "To change the order, list names in ZWAIF_PLUGIN_ORDER (in Z-Waif's .env): these are called first."
_HOW_TO_TRACE = (
    "In Z-Waif: write ZWAIF_TRACE_PLUGINS = 1 into its .env and start it again. Its console shows the calls of hooks.",
    "To switch that off, remove the line. Here, for one message: zwaif-fallback plugins trace MESSAGE",
)
_RESTART = "from Z-Waif's next start on."


def add(commands: Any) -> None:
    list_ = with_plugins_dir(with_json(with_zwaif(command(commands, "plugins", _list, "list Z-Waif's plugins"))))
    parts = list_.add_subparsers(title="commands", metavar="COMMAND")

    def part(name: str, run: Callable[[Arguments], int], help: str, zwaif: str = ZWAIF) -> Any:
        made = command(parts, name, run, help)
        made.argument_default = argparse.SUPPRESS  # a default would overwrite what precedes the name of the command
        return with_zwaif(made, zwaif)

    with_plugins_dir(with_json(part("list", _list, "list Z-Waif's plugins, as without COMMAND")))
    with_plugins_dir(with_json(part("explain", _explain, "show the order in which plugins are called, and why")))
    change = "NAME in ZWAIF_BLOCK_PLUGINS in Z-Waif's .env"
    for name, run, help in (
        ("block", _block, f"do not load a plugin: put {change}"),
        ("unblock", _unblock, f"load a plugin again: remove {change}"),
    ):
        changing = with_json(part(name, run, help, ZWAIF_CHANGED))
        changing.add_argument("name", metavar="NAME", help="name of the plugin")

    check = with_plugins_dir(with_json(part("check", _check, "check the hooks, settings and engines of one plugin")))
    check.add_argument("name", metavar="NAME", help="name of the plugin")
    attempt = with_plugins_dir(with_json(part("try", _try, "let one plugin answer a message, as in an outage")))
    attempt.add_argument("name", metavar="NAME", help="name of the plugin")
    attempt.add_argument("message", metavar="MESSAGE", help="what the user says")
    new = command(parts, "new", _new, "make a package with a plugin, its tests, and a GitHub workflow that runs them")
    new.add_argument("name", metavar="NAME", help="name of the plugin, for example my-parrot")
    new.add_argument(
        "--in", metavar="DIR", dest="place", default=".", help="where to make it (default: the current folder)"
    )
    trace = with_plugins_dir(part("trace", _trace, "show the calls of hooks for one message"))
    trace.add_argument(
        "message", metavar="MESSAGE", nargs="?", default=None, help="what the user says (default: say how it is done)"
    )


def _list(parsed: Arguments) -> int:
    from zwaif_fallback.cli.status_facts import plugin_facts

    loaded = _loaded(parsed)
    loaded.manager.engines()  # reports those that cannot be used
    problems = [*loaded.plugins.problems, *loaded.store.left_out()]
    facts = plugin_facts(loaded.manager)
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
    for line in problems:
        console.error(line)
    odd = loaded.store.left_out() or any(one["state"] in ("broken", "paused") or one["left_out"] for one in facts)
    return EXIT_PROBLEM if odd else EXIT_OK


def _explain(parsed: Arguments) -> int:
    plugins = _loaded(parsed).plugins
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
    for line in plugins.problems:
        console.error(line)
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


def _check(parsed: Arguments) -> int:
    from zwaif_fallback.cli import plugin_runs
    from zwaif_fallback.zwaif_tree import env_values, zwaif_folder
    from zwaif_hooks.plugins.discovery import BLOCK_VARIABLE, Names

    tree = zwaif_folder(parsed.zwaif)
    name = named(parsed.name, tree, parsed.plugins_dir)
    rows = list(plugin_runs.findings(_loaded(parsed, plugin_runs.only(name)), name))
    if name in Names(BLOCK_VARIABLE, env_values(tree, os.environ).get(BLOCK_VARIABLE, "")):
        rows.append(plugin_runs.Row("warning", "blocked", f"Z-Waif does not load it: it is listed in {BLOCK_VARIABLE}"))
    failed = sum(row.state == "FAIL" for row in rows)
    if parsed.json:
        checks = [{"check": row.about, "state": row.state.lower(), "text": row.text} for row in rows]
        console.say_json({"plugin": name, "checks": checks, "failed": failed})
    else:
        for row in rows:
            console.say(f"{row.state:<8} {row.about}: {row.text}")
        console.say(f"{name} has {failed} fault{'s' * (failed > 1)}." if failed else f"{name} can be used.")
    return EXIT_PROBLEM if failed else EXIT_OK


def _try(parsed: Arguments) -> int:
    from zwaif_fallback.answering import who_speaks
    from zwaif_fallback.cli import plugin_runs
    from zwaif_fallback.errors import FallbackError
    from zwaif_fallback.zwaif_tree import zwaif_folder

    name = named(parsed.name, zwaif_folder(parsed.zwaif), parsed.plugins_dir)
    if name == plugin_runs.BUILT_IN:
        raise FallbackError("The built-in plugin is tried with: zwaif-fallback chat")
    loaded, out = _loaded(parsed, plugin_runs.only(name), partial(console.say, stream=sys.stderr)), sys.stdout
    show = (lambda text: None) if parsed.json else lambda text: print(masked(text), end="", file=out, flush=True)
    text, record = plugin_runs.ask(loaded, parsed.message, show)
    errors = loaded.plugins.problems
    if parsed.json:
        times = {key: getattr(record, key, None) for key in ("answered_by", "first_text_after", "finished_after")}
        console.say_json({"plugin": name, "text": text, **times, "errors": errors})
        return EXIT_OK if text and not errors else EXIT_PROBLEM
    if text:
        console.say()
    for line in errors:
        console.error(line)
    if record is not None:
        spoken = who_speaks.signature(record.answered_by, record.first_text_after, record.finished_after)
        console.say(spoken, "dim", sys.stderr)
    elif name in loaded.manager.names():
        guard = loaded.manager.guard_of(name)
        if guard is None:
            console.error(f"{name} has no {plugin_runs.ANSWERING}: the next plugin is asked.")
        elif not guard.why:
            console.error(f"{name} has no answer to that (None): the next plugin is asked.")
    return EXIT_OK if text and not errors else EXIT_PROBLEM


def _trace(parsed: Arguments) -> int:
    from zwaif_fallback.cli import plugin_runs
    from zwaif_fallback.zwaif_tree import env_values, zwaif_folder
    from zwaif_hooks.plugins.discovery import BLOCK_VARIABLE

    if parsed.message is None:
        for line in _HOW_TO_TRACE:
            console.say(line)
        return EXIT_OK
    blocked = env_values(zwaif_folder(parsed.zwaif), os.environ).get(BLOCK_VARIABLE, "")
    loaded = _loaded(parsed, plugin_runs.traced(blocked), partial(console.say, stream=sys.stdout))
    text, _ = plugin_runs.ask(loaded, parsed.message, lambda text: None)
    for line in loaded.plugins.problems:
        console.say(line)
    console.say(f"The reply: {text}" if text else "No plugin answered; the built-in one was not asked.")
    return EXIT_OK


def _new(parsed: Arguments) -> int:
    from zwaif_fallback.cli.plugin_new import make

    folder = make(parsed.name, Path(parsed.place).expanduser().absolute())
    name = folder.name.removeprefix("zwaif-")
    python = r"venv\Scripts\python" if os.name == "nt" else "venv/bin/python"
    for line in (
        f"{folder} is made. To install and test it, in Z-Waif's folder:",
        f'  {python} -m pip install -e "{folder}[test]"',
        f'  {python} -m pytest "{folder}"',
        f'  zwaif-fallback plugins try {name} "{name}, hello"',
    ):
        console.say(line)
    return EXIT_OK


def _block(parsed: Arguments) -> int:
    from zwaif_fallback.zwaif_tree import require_zwaif_folder

    tree = require_zwaif_folder(parsed.zwaif)
    name, names = block(parsed.name, tree)
    hint = "Only other plugins answer in an outage then. To undo: zwaif-fallback plugins unblock fallback"
    return _changed(parsed, tree, names, f"{name} is blocked", hint if name == "fallback" else "")


def _unblock(parsed: Arguments) -> int:
    from zwaif_fallback.zwaif_tree import require_zwaif_folder

    tree = require_zwaif_folder(parsed.zwaif)
    return _changed(parsed, tree, unblock(parsed.name, tree), f"{parsed.name} is loaded again")


def block(name: str, tree: Path) -> tuple[str, list[str]]:
    """Add a plugin to those that ``.env`` blocks. Return its name as its package writes it, and all blocked names.

    Raises:
        FallbackError: There is no such plugin.
        EnvFileError: ``.env`` cannot be read or written.
    """
    from zwaif_hooks.host import env_file
    from zwaif_hooks.plugins.discovery import BLOCK_VARIABLE

    name, names = named(name, tree), _blocked(tree)
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


def named(name: str, tree: Path | None, folder: str | None = None) -> str:
    """Return a plugin's name as its package writes it, without importing the plugin.

    Raises:
        FallbackError: There is no such plugin.
    """
    from zwaif_fallback.errors import FallbackError
    from zwaif_fallback.zwaif_tree import env_values, existing_folder
    from zwaif_hooks.plugins.discovery import FOLDER_VARIABLE, Names, UnusableFolder, in_folder, installed

    place = env_values(tree, os.environ).get(FOLDER_VARIABLE, "") if folder is None else str(existing_folder(folder))
    try:
        files = in_folder(place) if place.strip() else []
    except UnusableFolder as error:
        raise FallbackError(f"{FOLDER_VARIABLE}: no plugin of it is loaded: {error}") from error
    known = [one.name for one in installed()] + [one.name for one in files]
    for line in Names("", name).unknown(known):
        raise FallbackError(f"There is no plugin {name!r}; {line.rpartition('; ')[2]}")
    return next(one for one in known if one.casefold() == name.strip().casefold())


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


def _loaded(
    parsed: Arguments, options: dict[str, str] | None = None, trace: Callable[[str], object] | None = None
) -> Loaded:
    """Load the plugins as Z-Waif would, but for ``options`` in place of the variables of these names.

    ``trace``: gets the lines of the trace, if that is on.
    """
    import traceback

    from zwaif_fallback.cli.plugin_runs import load
    from zwaif_fallback.zwaif_tree import zwaif_folder

    def tell(line: str, error: BaseException | None) -> None:
        if parsed.debug and error is not None:
            traceback.print_exception(error)

    return load(zwaif_folder(parsed.zwaif), parsed.plugins_dir, options or {}, tell=tell, trace=trace)
