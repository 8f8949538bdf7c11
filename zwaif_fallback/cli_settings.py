"""``settings show``, ``settings set``, ``enable`` and ``disable``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from zwaif_fallback import cli_console as console
from zwaif_fallback.cli_parts import NOT_WELL, WELL, ZWAIF_CHANGED, Arguments, command, with_json, with_zwaif

ENABLED = "API_FALLBACK_ENABLED"
_NEXT = "It acts with the next message, also in a Z-Waif that runs."


def add(commands: Any) -> None:
    with_zwaif(
        command(commands, "enable", _enable, "let the fallback answer when the LLM server does not"), ZWAIF_CHANGED
    )
    with_zwaif(command(commands, "disable", _disable, "leave Z-Waif as it is without the fallback"), ZWAIF_CHANGED)
    settings = command(commands, "settings", None, "show or change settings")
    parts = settings.add_subparsers(title="commands", metavar="COMMAND")
    with_json(with_zwaif(command(parts, "show", _show, "every setting, its value and where that is from")))
    change = command(parts, "set", _set, "change a setting in Z-Waif's .env")
    change.add_argument("key", metavar="KEY", help="its name, for example API_FALLBACK_MODEL")
    change.add_argument("value", metavar="VALUE", help='the new value; "" means the default')
    with_zwaif(change, ZWAIF_CHANGED)


def _show(parsed: Arguments) -> int:
    from zwaif_fallback import cli_status
    from zwaif_fallback.cli_tree import store_of, zwaif_folder

    tree = zwaif_folder(parsed.zwaif)
    rows = cli_status.settings_facts(tree, os.environ)
    if parsed.json:
        console.say_json(rows)
    else:
        store = store_of(tree, os.environ)
        cells = [_row(row, store.setting(row["name"])) for row in rows]
        console.table(("Setting", "Value", "From", "Default"), cells, ("bold", "", "dim", "dim"))
    problems = store_of(tree, os.environ).problems()
    for problem in problems:
        console.complain(problem)
    return NOT_WELL if problems else WELL


def _row(row: dict[str, Any], setting: Any) -> tuple[str, ...]:
    return row["name"], row["text"] or "(empty)", row["source"], setting.text(row["default"]) or "(empty)"


def _set(parsed: Arguments) -> int:
    from zwaif_fallback.cli_tree import needed_folder

    return change(needed_folder(parsed.zwaif), parsed.key, parsed.value)


def _enable(parsed: Arguments) -> int:
    from zwaif_fallback.cli_tree import needed_folder

    status = change(needed_folder(parsed.zwaif), ENABLED, "ON")
    console.say(f"The fallback is on. {_NEXT} To undo: zwaif-fallback disable")
    return status


def _disable(parsed: Arguments) -> int:
    from zwaif_fallback.cli_tree import needed_folder

    status = change(needed_folder(parsed.zwaif), ENABLED, "OFF")
    console.say(f"The fallback is off: Z-Waif is as it was without it. {_NEXT} To undo: zwaif-fallback enable")
    return status


def change(tree: Path, name: str, raw: str) -> int:
    """Write one setting into ``.env`` and say what was there before.

    Raises:
        SettingProblem, FallbackError, EnvFileError: with the remedy; nothing was changed.
    """
    from zwaif_fallback.cli_tree import env_values, store_of
    from zwaif_hooks.host import envfile

    store = store_of(tree, {})
    setting = store.setting(name.upper())
    value = setting.parse(raw)
    _refuse_nonsense(setting.name, str(value), tree, str(store.get("FALLBACK_MODEL_DIR")))
    before = env_values(tree, {}).get(setting.name)
    envfile.write(tree / ".env", setting.name, setting.text(value))
    was = "it was not set" if before is None else f"it was {before}" if before else "it was empty"
    console.say(f"{setting.name} = {setting.text(value)}".rstrip() + f"   (in {tree / '.env'}; {was})")
    if setting.name in os.environ:
        console.say(f"{setting.name} is also set as an environment variable, which counts more: remove it there.")
    return WELL


def _refuse_nonsense(name: str, text: str, tree: Path, model_dir: str) -> None:
    """What every type of setting lets through, and the plugin could not use.

    Raises:
        FallbackError: with the remedy; nothing was changed.
    """
    from zwaif_fallback import model_files
    from zwaif_fallback.errors import FallbackError
    from zwaif_fallback.ui import host_problem

    if name == "API_FALLBACK_MODEL":
        model_files.resolve(text, tree, model_dir)
    if name == "API_FALLBACK_HOST" and (problem := host_problem(text)):
        raise FallbackError(problem)
