"""``settings show``, ``settings set``, ``enable`` and ``disable``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zwaif_fallback.addresses import HOST, TRUSTED, host_problem
from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import EXIT_OK, EXIT_PROBLEM, ZWAIF_CHANGED, Arguments, command, with_json, with_zwaif

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
    change.add_argument("value", metavar="VALUE", help='new value; "" restores the default')
    with_json(with_zwaif(change, ZWAIF_CHANGED))


def _show(parsed: Arguments) -> int:
    from zwaif_fallback.choosing.no_model_chosen import is_chosen
    from zwaif_fallback.cli import status_facts
    from zwaif_fallback.zwaif_tree import env_values, settings_store, zwaif_folder

    tree = zwaif_folder(parsed.zwaif)
    store = settings_store(tree, os.environ)
    model = status_facts.model_facts(store.get, tree, is_chosen(env_values(tree, os.environ)))
    rows = status_facts.settings_facts(tree, os.environ, model["notice"])
    if parsed.json:
        console.say_json(rows)
    else:
        cells = [_row(row, store.setting(row["name"])) for row in rows]
        console.table(("Setting", "Value", "From", "Default"), cells, ("bold", "", "dim", "dim"))
        if model["notice"]:
            console.say()
            console.say(model["notice"])
    problems = store.problems()
    for problem in problems:
        console.error(problem)
    return EXIT_PROBLEM if problems else EXIT_OK


def _row(row: dict[str, Any], setting: Any) -> tuple[str, ...]:
    return row["name"], row["text"] or "(empty)", row["source"], setting.text(row["default"]) or "(empty)"


def _set(parsed: Arguments) -> int:
    return _changed(parsed, parsed.key, parsed.value)


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
    from zwaif_fallback.zwaif_tree import env_values, model_setting, settings_store
    from zwaif_hooks.host import env_file

    store = settings_store(tree, {})
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
        "value": value,
        "text": setting.text(value),
        "written": written,
        "before": before,
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

    if name == "API_FALLBACK_MODEL":
        resolve_name.resolve(text, tree, model_dir)
    if name == HOST and (problem := host_problem(text)):
        raise FallbackError(problem)
