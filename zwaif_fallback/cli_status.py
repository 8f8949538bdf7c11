"""What ``status`` and ``settings show`` tell: gathered as plain data, which is what ``--json`` prints."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from zwaif_fallback import model_files
from zwaif_fallback.cli_tree import env_values, source_of, store_of
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.models.auto import Wishes
from zwaif_fallback.models.instead import instead
from zwaif_fallback.models.recommended import nothing_here
from zwaif_fallback.models.unchosen import MODEL, answering, is_chosen, wrong
from zwaif_hooks import records
from zwaif_hooks.host.health import configured_primary
from zwaif_hooks.primary import listens
from zwaif_hooks.records import TurnRecord

Facts = dict[str, Any]
SHOWN_TURNS = 5


def version() -> str:
    """Of the installed package; a checkout that was never installed has none."""
    try:
        return metadata.version("zwaif-fallback")
    except metadata.PackageNotFoundError:
        return "not installed"


def settings_facts(tree: Path | None, environ: Mapping[str, str], notice: str = "") -> list[Facts]:
    """Every setting with the value in force and where that comes from.

    Args:
        notice: why another model answers than the one that is set.
    """
    store = store_of(tree, environ)
    return [
        {
            "name": setting.name,
            "value": store.get(setting.name),
            "text": setting.text(store.get(setting.name)),
            "default": setting.default,
            "source": source_of(setting, tree, environ),
            "note": notice if setting.name == MODEL else "",
        }
        for setting in store.table
    ]


def status_facts(tree: Path | None, environ: Mapping[str, str]) -> Facts:
    """All that ``status`` knows. Asks the disk, and each server whether it accepts a connection (a second at most)."""
    store = store_of(tree, environ)
    host = str(store.get("API_FALLBACK_HOST")).strip()
    model = model_facts(store.get, tree, is_chosen(env_values(tree, environ)))
    return {
        "version": version(),
        "zwaif": str(tree) if tree else None,
        "plugins_off": environ.get("ZWAIF_PLUGINS", "").strip().upper() == "OFF",
        "enabled": bool(store.get("API_FALLBACK_ENABLED")),
        "primary": _primary(tree, environ) if tree else None,
        "fallback_host": {"address": host, "reachable": listens(_address(host))} if host else None,
        "model": model,
        "turns": [asdict(record) for record in _turns(tree)],
        "settings": settings_facts(tree, environ, model["notice"]),
        "problems": store.problems(),
    }


def can_answer(facts: Facts) -> bool:
    """Whether an outage now would be answered by more than a last word, or is not wanted to be."""
    host = facts["fallback_host"]
    return not facts["enabled"] or facts["model"]["here"] or bool(host and host["reachable"])


def status_lines(facts: Facts) -> list[str]:
    """The same for a person."""
    lines = [
        f"zwaif-fallback   {facts['version']}",
        f"Z-Waif           {facts['zwaif'] or 'not here (run this in its folder, or add --zwaif FOLDER)'}",
        f"Fallback         {_switch(facts)}",
        f"LLM server       {_server(facts['primary'])}",
        f"Fallback host    {_fallback_host(facts['fallback_host'])}",
        f"Local model      {facts['model']['line']}",
        *(f"{'':17}{more}" for more in (facts["model"]["notice"], facts["model"]["instead"]) if more),
        f"Replies          {records.summary(TurnRecord(**turn) for turn in facts['turns'])}",
        *(_turn_row(turn) for turn in facts["turns"][-SHOWN_TURNS:]),
    ]
    changed = [row for row in facts["settings"] if row["source"] != "default"]
    lines += (
        ["", "Settings that are not left at their default:"] if changed else ["", "All settings are at their default."]
    )
    lines += _setting_rows(changed)
    return [*lines, *(f"Problem: {problem}" for problem in facts["problems"])]


def settings_lines(rows: Sequence[Facts]) -> list[str]:
    return _setting_rows(rows)


def _turns(tree: Path | None) -> list[TurnRecord]:
    """What the last Z-Waif that ran in this tree wrote down."""
    return records.read(records.path_for(tree)) if tree is not None else []


def _turn_row(turn: Facts) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(turn["at"]))
    why = f" ({turn['cause']}: {turn['detail']})" if turn["cause"] else ""
    note = f"; {turn['note']}" if turn["note"] else ""
    return f"  {when}  {turn['answered_by'] or 'nobody'}, {turn['seconds']:.1f} s, {_tokens(turn)}{why}{note}"


def _tokens(turn: Facts) -> str:
    """Of both speakers where there were two; ``about`` where one of them was not counted."""
    about = "about " if turn["primary_tokens_estimated"] or turn["fallback_tokens_estimated"] else ""
    primary, fallback = turn["primary_tokens"], turn["fallback_tokens"]
    return f"{about}{primary} + {fallback} tokens" if primary and fallback else f"{about}{primary or fallback} tokens"


def _primary(tree: Path, environ: Mapping[str, str]) -> Facts:
    kind, address = configured_primary(env_values(tree, environ))
    if kind == "LMStudio":
        # Its library looks for the port by itself; there is none to read anywhere.
        return {"kind": kind, "address": None, "reachable": None}
    return {"kind": kind, "address": address, "reachable": listens(address)}


def model_facts(setting: Callable[[str], Any], tree: Path | None, named: bool) -> Facts:
    """What the chosen model is, whether it is here, and where it is not, which one could be taken ``instead``.

    Args:
        setting: a setting's value.
        named: whether the user chose a model; else one that is here may answer, which the ``notice`` says.
    """
    name, wishes = str(setting(MODEL)), Wishes.of(setting, tree)
    facts = {"setting": name, "named": named, "resolved": None, "here": False, "notice": "", "instead": ""}
    try:
        found = answering(name, named, wishes)
    except ModelNotFound as error:
        return {**facts, "line": wrong(name, error), "instead": instead(tree, wishes.model_dir)}
    facts |= {"resolved": found.model, "notice": found.notice}
    if not model_files.is_on_this_machine(found.model):
        line = _missing(found.model) if named else str(nothing_here(wishes))
        return {**facts, "line": line, "instead": instead(tree, wishes.model_dir)}
    return {**facts, "here": True, "line": f"{found.title or name}: on this computer"}


def _missing(resolved: str) -> str:
    if Path(resolved).is_absolute():
        return f"{resolved} holds no complete weights (*.safetensors): download the model again, with all its files"
    return str(model_files.not_here(resolved))


def _address(host: str) -> str:
    """``host:port`` of an address that may be a URL."""
    return host.partition("://")[2].partition("/")[0] if "://" in host else host


def _columns(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]


def _setting_rows(rows: Iterable[Facts]) -> list[str]:
    cells = [(f"{row['name']} = {row['text']}".rstrip(), f"({row['source']})") for row in rows]
    return _columns(cells) if cells else []


def _switch(facts: Facts) -> str:
    if facts["plugins_off"]:
        return "off: ZWAIF_PLUGINS=OFF is set in this environment"
    return "on" if facts["enabled"] else "off: API_FALLBACK_ENABLED = OFF"


def _server(primary: Facts | None) -> str:
    if primary is None:
        return "unknown without Z-Waif's .env"
    if primary["address"] is None:
        return f"{primary['kind']}: its own library finds it when Z-Waif starts"
    if primary["reachable"]:
        return f"{primary['kind']} at {primary['address']} accepts connections"
    return f"{primary['kind']} at {primary['address']} is not there: start it, or correct its address in Z-Waif's .env"


def _fallback_host(host: Facts | None) -> str:
    if host is None:
        return "none"
    return f"{host['address']} {'accepts connections' if host['reachable'] else 'is not there: start it'}"
