"""``settings show``, ``settings set``, ``settings docs``, ``enable`` and ``disable``."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zwaif_fallback.addresses import HOST, TRUSTED, host_problem
from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import EXIT_OK, EXIT_PROBLEM, ZWAIF_CHANGED, Arguments, command, with_json, with_zwaif

if TYPE_CHECKING:
    from zwaif_hooks.host.settings_store import SettingsStore

ENABLED = "API_FALLBACK_ENABLED"
_NEXT = "It takes effect with the next message, even while Z-Waif is running."


def add(commands: Any) -> None:
    for name, run, help in (
        ("enable", _enable, "turn the fallback on"),
        ("disable", _disable, "turn the fallback off; Z-Waif works as if it were not installed"),
    ):
        with_json(with_zwaif(command(commands, name, run, help), ZWAIF_CHANGED))
    settings = command(commands, "settings", None, "show or change settings")
    parts = settings.add_subparsers(title="commands", metavar="COMMAND")
    with_json(with_zwaif(command(parts, "show", _show, "list all settings, their values, and where each comes from")))
    change = command(parts, "set", _set, "change a setting in Z-Waif's .env")
    change.add_argument("key", metavar="KEY", help="name of the setting, for example API_FALLBACK_MODEL")
    change.add_argument(
        "value",
        metavar="VALUE",
        nargs="?",
        help='new value; "" restores the default; if left out, you are asked for it',
    )
    with_json(with_zwaif(change, ZWAIF_CHANGED))
    docs = command(parts, "docs", _docs, "print the documentation of all settings, or of a plugin's, as Markdown")
    docs.add_argument("plugin", metavar="PLUGIN", nargs="?", help="name of a plugin")


def _show(parsed: Arguments) -> int:
    from zwaif_fallback.choosing.no_model_chosen import is_chosen
    from zwaif_fallback.cli import status_facts
    from zwaif_fallback.zwaif_tree import env_values, load_plugins, settings_store, zwaif_folder

    tree = zwaif_folder(parsed.zwaif)
    store = settings_store(tree, os.environ)
    plugins = load_plugins(store, os.environ).problems
    model = status_facts.model_facts(store.get, tree, is_chosen(env_values(tree, os.environ)))
    rows = status_facts.settings_facts(store, tree, os.environ, model["notice"])
    if parsed.json:
        console.say_json(rows)
    else:
        _show_table(store, [row for row in rows if not row["plugin"]])
        if model["notice"]:
            console.say()
            console.say(model["notice"])
        for plugin in dict.fromkeys(row["plugin"] for row in rows if row["plugin"]):
            console.say()
            console.say(f"Plugin {plugin}")
            _show_table(store, [row for row in rows if row["plugin"] == plugin])
    problems = [*store.problems(), *store.left_out(), *plugins]
    for line in (*problems, *store.mistyped()):
        console.error(line)
    return EXIT_PROBLEM if problems else EXIT_OK


def _show_table(store: SettingsStore, rows: list[dict[str, Any]]) -> None:
    cells = [_row(row, store.setting(row["name"])) for row in rows]
    console.table(("Setting", "Value", "From", "Default"), cells, ("bold", "", "dim", "dim"))


def _row(row: dict[str, Any], setting: Any) -> tuple[str, ...]:
    return row["name"], row["text"] or "(empty)", row["source"], setting.text(row["default"]) or "(empty)"


def _set(parsed: Arguments) -> int:
    return _changed(parsed, parsed.key, _typed(parsed.key) if parsed.value is None else parsed.value)


def _typed(name: str) -> str:
    """Return a value that the user types without showing it, or the first line of a pipe."""
    from getpass import getpass

    return getpass(f"{name.upper()}: ") if sys.stdin.isatty() else sys.stdin.readline().rstrip("\r\n")


def _docs(parsed: Arguments) -> int:
    from zwaif_fallback.settings import SETTINGS, as_markdown, table_as_markdown
    from zwaif_fallback.zwaif_tree import UsageError, load_plugins
    from zwaif_hooks.host.settings_store import SettingsStore

    store = SettingsStore(SETTINGS, None, {}, say=lambda line: None)
    problems = load_plugins(store, os.environ).problems
    by_plugin = {one.plugin: [other for other in store.table if other.plugin == one.plugin] for one in store.table}
    wanted = by_plugin if parsed.plugin is None else [parsed.plugin]
    for line in (*store.left_out(), *problems):
        console.error(line)
    for plugin in wanted:
        if plugin not in by_plugin:
            raise UsageError(f"No plugin called {plugin} has settings.")
        page = as_markdown() if not plugin else f"## Settings of {plugin}\n\n{table_as_markdown(by_plugin[plugin])}"
        console.say(page)
    return EXIT_OK


def _enable(parsed: Arguments) -> int:
    return _changed(parsed, ENABLED, "ON", f"The fallback is on. {_NEXT} To undo: zwaif-fallback disable")


def _disable(parsed: Arguments) -> int:
    off = "The fallback is off: Z-Waif works as if it were not installed."
    return _changed(parsed, ENABLED, "OFF", f"{off} {_NEXT} To undo: zwaif-fallback enable")


def _changed(parsed: Arguments, name: str, raw: str, closing: str = "") -> int:
    from zwaif_fallback.zwaif_tree import require_zwaif_folder

    facts = change(require_zwaif_folder(parsed.zwaif), name, raw)
    if parsed.json:
        console.say_json(facts)
        return EXIT_OK
    for line in (*_change_lines(facts), closing):
        if line:
            console.say(line)
    return EXIT_OK


def change(tree: Path, name: str, raw: str) -> dict[str, Any]:
    """Write one setting to ``.env`` and return what it is now and was before.

    Raises:
        SettingProblem, FallbackError, EnvFileError: Nothing was changed; the message says what to do.
    """
    from zwaif_fallback.choosing.no_model_chosen import MODEL
    from zwaif_fallback.settings import SETTINGS
    from zwaif_fallback.zwaif_tree import env_values, load_plugins, model_setting, settings_store
    from zwaif_hooks.host import env_file

    store = settings_store(tree, {})
    if name.upper() not in {setting.name for setting in SETTINGS}:
        for line in load_plugins(store, os.environ).problems:
            console.error(line)
    setting = store.setting(name.upper())
    if setting.name == MODEL and raw.strip():
        raw = model_setting(raw, tree, os.environ)
    value = setting.parse(raw)
    _refuse_nonsense(setting.name, str(value), tree, str(store.get("FALLBACK_MODEL_DIR")))
    before = env_values(tree, {}).get(setting.name)
    written = setting.text(value) if raw.strip() else ""  # a default written out would count as a choice
    env_file.write(tree / ".env", setting.name, written)
    if setting.name == HOST and store.get(TRUSTED):  # set by hand, so this host is trusted
        env_file.write(tree / ".env", TRUSTED, "")
    return {
        "name": setting.name,
        "value": setting.shown(value) if setting.secret else value,
        "text": setting.shown(value),
        "written": setting.shown(written) if setting.secret else written,
        "before": setting.shown(before) if setting.secret and before else before,
        "file": str(tree / ".env"),
        "overruled": setting.name in os.environ,
    }


def _change_lines(facts: dict[str, Any]) -> Iterator[str]:
    before, name, written = facts["before"], facts["name"], facts["written"]
    was = "not set" if before is None else before or "empty"
    yield f"{name} = {written}".rstrip() + f"   (in {facts['file']}; before: {was})"
    if not written and facts["text"]:
        yield f"Empty means the default: {facts['text']}"
    if name == HOST and written:
        yield "If you set a key in API_FALLBACK_API_KEY, only this host gets it, over https or on this computer."
    if facts["overruled"]:
        yield f"{name} is also set as an environment variable, which takes precedence: remove it there."


def _refuse_nonsense(name: str, text: str, tree: Path, model_dir: str) -> None:
    """Refuse a value that has the right type, but that the fallback could not use.

    Raises:
        FallbackError: Nothing was changed; the message says what to do.
    """
    from zwaif_fallback.choosing import resolve_name
    from zwaif_fallback.errors import FallbackError
    from zwaif_fallback.models.program_folders import this_machine
    from zwaif_fallback.restart.start_command import split
    from zwaif_fallback.settings import RESTART

    if name == "API_FALLBACK_MODEL":
        resolve_name.resolve(text, tree, model_dir)
    if name == HOST and (problem := host_problem(text)):
        raise FallbackError(problem)
    if name == RESTART:
        split(text, this_machine())
