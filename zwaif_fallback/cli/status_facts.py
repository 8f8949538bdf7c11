"""The facts that ``status``, ``settings show``, ``chat`` and ``test`` report, as plain data: what ``--json`` prints."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from zwaif_fallback.addresses import host_problem
from zwaif_fallback.answering import who_speaks
from zwaif_fallback.answering.second_server import second_server
from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import Constraints
from zwaif_fallback.choosing.load_check import why_not
from zwaif_fallback.choosing.no_model_chosen import MODEL, answering, is_chosen, unresolved_message
from zwaif_fallback.choosing.suggestions import nothing_here, suggest_found_model
from zwaif_fallback.cli import options
from zwaif_fallback.doctor.servers import find_primary
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.doctor.zwaif import check_environment, check_switches
from zwaif_fallback.errors import EngineError, ModelNotFound
from zwaif_fallback.models.display_names import readable
from zwaif_fallback.restart import history
from zwaif_fallback.zwaif_tree import env_values, load_plugins, settings_store, value_source
from zwaif_hooks import turn_log
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.network.connect import listens
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.turn_log import TurnRecord

Facts = dict[str, Any]
SHOWN_LINES = 3
_LOOKED_AT = 64 * 1024
"""How much of the end of the console's file is read, in bytes."""


def settings_facts(
    store: SettingsStore, tree: Path | None, environ: Mapping[str, str], notice: str = ""
) -> list[Facts]:
    """Return every setting with its effective value (a secret is masked) and where that comes from.

    Args:
        notice: Why another model answers than the one in the setting; empty if it does not.
    """
    return [
        {
            "name": setting.name,
            "plugin": setting.plugin,
            "value": store.shown(setting.name) if setting.secret else store.get(setting.name),
            "text": store.shown(setting.name),
            "default": setting.default,
            "source": value_source(setting, tree, environ),
            "note": notice if setting.name == MODEL else "",
        }
        for setting in store.table
    ]


def status_facts(tree: Path | None, environ: Mapping[str, str]) -> Facts:
    """Return everything that ``status`` reports. Tries a connection to each server, which takes a second at most."""
    store = settings_store(tree, environ)
    plugins = load_plugins(store, environ)
    host = str(store.get("API_FALLBACK_HOST")).strip()
    model = model_facts(store.get, tree, is_chosen(env_values(tree, environ)))
    primary = _primary(tree, environ) if tree else None
    here = Situation(tree, environ)
    switches, environment = check_switches(here), check_environment(here)
    turns = _turns(tree)
    return {
        "version": options.version(),
        "zwaif": str(tree) if tree else None,
        "environment": "" if environment.state != "warning" else f"{environment.found}. {environment.remedy}",
        "switched_off": "" if switches.state == "ok" else f"{switches.found}. {switches.remedy}",
        "enabled": bool(store.get("API_FALLBACK_ENABLED")),
        "primary": primary,
        "restarting": _restarting(primary),
        "fallback_host": _host(host, primary, store.get) if host else None,
        "model": model,
        "speaks": _who_speaks(turns, primary, host, env_values(tree, environ)),
        "turns": [asdict(record) for record in turns],
        "settings": settings_facts(store, tree, environ, model["notice"]),
        "plugins": plugin_facts(plugins.manager),
        "problems": [*store.problems(), *store.left_out(), *plugins.problems],
        "console": _console(tree),
    }


def plugin_facts(manager: PluginManager) -> list[Facts]:
    """Describe each plugin that was found."""
    return [{**asdict(one), "state": one.state.value} for one in manager.states()]


def can_answer(facts: Facts) -> bool:
    """Whether a server or model would answer in an outage. True if the fallback is switched off."""
    host = facts["fallback_host"]
    return not facts["enabled"] or facts["model"]["usable"] or bool(host and host["reachable"])


def _turns(tree: Path | None) -> list[TurnRecord]:
    """Return the turns recorded by the last Z-Waif that ran in this tree."""
    return turn_log.read(turn_log.path_for(tree)) if tree is not None else []


def _who_speaks(turns: Sequence[TurnRecord], primary: Facts | None, host: str, environ: Mapping[str, str]) -> str:
    """Return who gave the last reply, worded as on the Chat tab; empty if there was none in the last hour."""
    if not turns or time.time() - turns[-1].at > 3600 or not turns[-1].answered_by:
        return ""
    program, by = who_speaks.server_program(environ), turns[-1].answered_by
    if by == turn_log.BY_PRIMARY:
        return program
    if primary and primary["reachable"]:
        return f"{who_speaks.stand_in(by, host, readable)}, the last time; {program} accepts connections now"
    return who_speaks.while_down(by, program, host, readable)


def _primary(tree: Path, environ: Mapping[str, str]) -> Facts:
    found = find_primary(env_values(tree, environ))
    return {"kind": found.kind, "address": found.address or None, "reachable": found.reachable}


def _restarting(primary: Facts | None) -> str:
    """Return how a running Z-Waif restarts its server, in one line; empty if it does not, or the server is up."""
    if not primary or not primary["address"] or primary["reachable"]:
        return ""
    return history.read(history.path_for(primary["address"])).line(time.time())


def _host(host: str, primary: Facts | None, setting: Callable[[str], Any]) -> Facts:
    """Say whether the second server can be used, and whether it accepts connections."""
    problem = host_problem(host, [primary["address"]] if primary and primary["address"] else [])
    try:
        parts = urlsplit(second_server(setting, host, "").base_url) if not problem else None
    except EngineError as error:
        problem, parts = str(error), None
    port = (parts.port or (443 if parts.scheme == "https" else 80)) if parts else 0
    reachable = parts is not None and listens(f"{parts.hostname}:{port}")
    return {"address": host, "reachable": reachable, "problem": problem}


def model_facts(setting: Callable[[str], Any], tree: Path | None, named: bool) -> Facts:
    """Describe the model that would answer, and if it is not on this computer, which could be used ``instead``.

    Args:
        setting: Returns the value of a setting.
        named: Whether the user chose a model. If not, another one may answer; the ``notice`` says so.
    """
    name, constraints = str(setting(MODEL)), Constraints.of(setting, tree)
    facts = {
        "setting": name,
        "title": name,
        "named": named,
        "resolved": None,
        "here": False,
        "usable": False,
        "notice": "",
        "instead": "",
    }
    try:
        found = answering(name, named, constraints)
    except ModelNotFound as error:
        return {
            **facts,
            "line": unresolved_message(name, error),
            "instead": suggest_found_model(tree, constraints.model_dir),
        }
    facts |= {"resolved": found.model, "notice": found.notice}
    if not resolve_name.is_on_this_machine(found.model):
        line = _missing(found.model) if named else str(nothing_here(constraints))
        return {**facts, "line": line, "instead": suggest_found_model(tree, constraints.model_dir)}
    title, problem = found.title or name, why_not(found.model, constraints)
    line = (
        f"{title} is on this computer, but cannot be loaded now. {problem}" if problem else f"{title}: on this computer"
    )
    return {**facts, "title": title, "here": True, "usable": not problem, "line": line}


def _missing(resolved: str) -> str:
    if Path(resolved).is_absolute():
        return f"{resolved} holds no complete weights (*.safetensors): download the model again, with all its files"
    return str(resolve_name.not_here(resolved))


def _console(tree: Path | None) -> list[str]:
    """Return our last lines in the file to which Z-Waif's startup.sh writes the console."""
    if tree is None:
        return []
    try:
        with (tree / "log.txt").open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if "[API] " in line][-SHOWN_LINES:]
