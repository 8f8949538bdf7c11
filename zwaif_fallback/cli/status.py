"""``status``: what would happen if the LLM server failed now. The facts come from ``status_facts``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import EXIT_OK, EXIT_PROBLEM, Arguments, command, with_json, with_zwaif

Facts = dict[str, Any]
SHOWN_TURNS = 5
_STANDS_BY = "While Z-Waif runs, a standby process makes loading it faster, if there is enough memory."


def add(commands: Any) -> None:
    with_json(with_zwaif(command(commands, "status", _status, "show what would happen if the LLM server failed now")))


def _status(parsed: Arguments) -> int:
    from zwaif_fallback.cli.status_facts import can_answer, status_facts
    from zwaif_fallback.zwaif_tree import zwaif_folder

    facts = status_facts(zwaif_folder(parsed.zwaif), os.environ)
    if parsed.json:
        console.say_json(facts)
    else:
        for line in status_lines(facts):
            console.say(line)
    return EXIT_OK if can_answer(facts) else EXIT_PROBLEM


def status_lines(facts: Facts) -> list[str]:
    """Return what ``status`` prints for people."""
    from zwaif_hooks import turn_log

    lines = [
        f"zwaif-fallback   {facts['version']}",
        f"Z-Waif           {facts['zwaif'] or 'not found (run this in its folder, or add --zwaif FOLDER)'}",
        *([f"Environment      {facts['environment']}"] if facts["environment"] else []),
        f"Fallback         {'off: ' + facts['switched_off'] if facts['switched_off'] else 'on'}",
        f"LLM server       {_server(facts['primary'])}",
        *([f"{'':17}{facts['restarting']}"] if facts["restarting"] else []),
        f"Second server    {_second_server(facts['fallback_host'])}",
        f"Local model      {facts['model']['line']}",
        *(f"{'':17}{more}" for more in (facts["model"]["notice"], facts["model"]["instead"]) if more),
        *([f"{'':17}{_STANDS_BY}"] if facts["model"]["usable"] and _is_to_stand_by(facts["settings"]) else []),
        *([f"Plugins          {_plugins(facts['plugins'])}"] if facts["plugins"] else []),
        *([f"Who answers      {facts['speaks']}"] if facts["speaks"] else []),
        f"Replies          {turn_log.summary(turn_log.TurnRecord(**turn) for turn in facts['turns'])}",
        *(_turn_row(turn) for turn in facts["turns"][-SHOWN_TURNS:]),
    ]
    changed = [row for row in facts["settings"] if row["value"] != row["default"]]
    lines += ["", "Changed settings:" if changed else "All settings have their default values."]
    lines += _setting_rows(changed)
    lines += [f"Problem: {problem}" for problem in facts["problems"]]
    if facts["console"]:
        lines += ["", f"Last lines of the fallback on Z-Waif's console ({Path(facts['zwaif']) / 'log.txt'}):"]
    return [*lines, *facts["console"]]


def _plugins(states: Sequence[Facts]) -> str:
    """Name the plugins, and which of them do not work; the reasons are among the problems."""
    return ", ".join(" ".join(word for word in (one["name"], one["version"], _state(one)) if word) for one in states)


def _state(plugin: Facts) -> str:
    if plugin["state"] != "active":
        return f"({plugin['state']})"
    return "(a hook is not called)" if plugin["left_out"] else ""


def _is_to_stand_by(settings: Iterable[Facts]) -> bool:
    return any(row["name"] == "API_FALLBACK_STANDBY" and row["value"] for row in settings)


def _turn_row(turn: Facts) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(turn["at"]))
    why = f" ({turn['detail'] or turn['cause']})" if turn["cause"] else ""
    note = f"; {turn['note']}" if turn["note"] else ""
    by = "the LLM server" if turn["answered_by"] == "primary" else turn["answered_by"] or "nobody"
    return f"  {when}  {by}, {turn['seconds']:.1f} s, {_tokens(turn)}{why}{note}"


def _tokens(turn: Facts) -> str:
    """Return the number of tokens, of both speakers if there were two; ``about`` if one is an estimate."""
    about = "about " if turn["primary_tokens_estimated"] or turn["fallback_tokens_estimated"] else ""
    primary, fallback = turn["primary_tokens"], turn["fallback_tokens"]
    return f"{about}{primary} + {fallback} tokens" if primary and fallback else f"{about}{primary or fallback} tokens"


def _setting_rows(rows: Iterable[Facts]) -> list[str]:
    cells = [(f"{row['name']} = {row['text']}".rstrip(), f"({row['source']})") for row in rows]
    return console.columns(cells) if cells else []


def _server(primary: Facts | None) -> str:
    if primary is None:
        return "unknown, as there is no Z-Waif here"
    where = f"{primary['kind']} at {primary['address']}" if primary["address"] else "LM Studio"
    if primary["reachable"]:
        return f"{where} accepts connections"
    return f"{where} is down: start it" + (", or correct its address in Z-Waif's .env" if primary["address"] else "")


def _second_server(host: Facts | None) -> str:
    if host is None:
        return "none"
    if host["problem"]:
        return str(host["problem"])
    return (
        f"{host['address']} {'accepts connections' if host['reachable'] else 'is down: start it, or correct the port'}"
    )
