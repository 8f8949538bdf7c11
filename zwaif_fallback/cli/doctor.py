"""``doctor``: check everything that can go wrong. The checks are in ``zwaif_fallback.doctor``."""

from __future__ import annotations

import os
import platform
from collections import Counter
from typing import TYPE_CHECKING, Any

from zwaif_fallback.cli import console
from zwaif_fallback.cli.options import EXIT_OK, EXIT_PROBLEM, Arguments, command, version, with_json, with_zwaif

if TYPE_CHECKING:
    from zwaif_fallback.doctor.findings import Finding

_STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red", "skipped": "dim"}
_INDENT = " " * 27


def add(commands: Any) -> None:
    help = "check everything that can go wrong, and say how to fix it"
    with_json(with_zwaif(command(commands, "doctor", _doctor, help)))


def _doctor(parsed: Arguments) -> int:
    from zwaif_fallback.cli.status_facts import settings_facts
    from zwaif_fallback.doctor.checks import examine
    from zwaif_fallback.doctor.redaction import shareable
    from zwaif_fallback.doctor.situation import Situation
    from zwaif_fallback.zwaif_tree import zwaif_folder

    states: Counter[str] = Counter()
    rows = []
    here = Situation(zwaif_folder(parsed.zwaif), os.environ)
    for check, finding in examine(here):
        states[finding.state] += 1
        if parsed.json:
            rows.append({"name": check.name, "title": check.title, **vars(finding)})
        else:
            _tell(check.title, finding)
    if parsed.json:
        about = {"version": version(), "python": platform.python_version(), "system": platform.platform()}
        counts = {"problems": states["problem"], "warnings": states["warning"]}
        settings = settings_facts(here.store, here.tree, os.environ)
        console.say_json(shareable({**about, **counts, "checks": rows, "settings": settings}, here.env))
    else:
        console.say()
        console.say(summary(states), "bold")
    return EXIT_PROBLEM if states["problem"] else EXIT_OK


def _tell(title: str, finding: Finding) -> None:
    console.say(f"{finding.state:<9} {title:<16} {finding.found}", _STYLES[finding.state])
    for line in finding.details:
        console.say(f"{_INDENT}{line}")
    if finding.meaning:
        console.say(f"{_INDENT}{finding.meaning}")
    if finding.remedy:
        console.say(f"{_INDENT}To do: {finding.remedy}")


def summary(states: Counter[str]) -> str:
    """Return the counts of the results, worst first."""
    words = [_counted(states["problem"], "problem"), _counted(states["warning"], "warning"), f"{states['ok']} ok"]
    left_out = f", {states['skipped']} skipped" if states["skipped"] else ""
    return ", ".join(words) + left_out + "."


def _counted(number: int, word: str) -> str:
    return f"{number or 'no'} {word}{'' if number == 1 else 's'}"
