"""Z-Waif: found, which release, and does the plugin start with it?"""

from __future__ import annotations

import re
from pathlib import Path

from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.install_hints import this_package

_OFF = ("OFF", "0", "FALSE", "NO")
_RELEASE = re.compile(r"^\s*v(\d+(?:\.\d+)*(?:-R\d+)?)\s*$", re.IGNORECASE | re.MULTILINE)
# fmt: off
TRIED = (
    "1.3", "1.3-R2", "1.4", "1.5-R2", "1.6", "1.7",
    "1.8-R3", "1.9", "1.9-R3", "1.10", "1.11", "1.12",
    "1.13", "1.14", "1.14-R3", "1.14-R4", "1.15",
)
# fmt: on
"""Releases, as they name themselves, that outages were played through with (CHANGELOG.md)."""


def release(tree: Path) -> str:
    """The newest release that the tree's changelog names, empty where it names none."""
    try:
        text = (tree / "changelog.txt").read_text(encoding="utf-8", errors="replace")[:2000]
    except OSError:
        return ""
    found = _RELEASE.search(text)
    return found[1] if found else ""


def check_tree(here: Situation) -> Finding:
    if here.tree is None:
        return Finding(
            "warning",
            "no Z-Waif here",
            "Everything about Z-Waif (its settings, its server, its character) cannot be looked at.",
            "Run this in Z-Waif's folder, or add --zwaif FOLDER.",
        )
    found = release(here.tree)
    if found in TRIED:
        return ok(f"v{found} in {here.tree}")
    named = f"v{found}" if found else "a release that says no number"
    return Finding(
        "warning",
        f"{named} in {here.tree}",
        f"Tried were {len(TRIED)} releases from v{TRIED[0]} to v{TRIED[-1]}. "
        "Others most likely work, parts of the plugin may leave themselves out.",
        "Check it, nothing is changed: zwaif-fallback test",
    )


def check_environment(here: Situation) -> Finding:
    """Z-Waif's start script makes and uses the folder ``venv`` in its own."""
    own = here.tree / "venv" if here.tree else None
    if own is None or not (own / "pyvenv.cfg").is_file():
        return skipped("no venv of Z-Waif's to compare with")
    if own.resolve() == here.prefix.resolve():
        return ok(f"{own}")
    return Finding(
        "warning",
        f"this command runs in {here.prefix}, Z-Waif in {own}",
        "What is said here about libraries and the start-up line is about the first; Z-Waif uses the second.",
        "Activate Z-Waif's own environment (venv), then run this again.",
    )


def check_hook(here: Situation) -> Finding:
    state = here.hook(here.tree, here.environ)
    nothing = "Z-Waif starts without the plugin: there is no fallback."
    install = f"Activate Z-Waif's own environment (venv), then: {this_package()}"
    if state.error:
        return Finding("problem", f"a Python of this environment could not be started: {state.error}", nothing, install)
    if not state.active:
        return Finding(
            "problem",
            "the start-up line is not active in this environment",
            nothing,
            f"{install} (a checkout that is only on PYTHONPATH has no start-up line)",
        )
    if "fallback" not in state.plugins:
        return Finding(
            "problem",
            "the start-up line is active, but the plugin is not registered",
            "Z-Waif is watched, and nobody answers in its server's place.",
            f"pip uninstall -y zwaif-fallback. Then: {this_package()}",
        )
    if here.tree is not None and not state.tree:
        return Finding(
            "problem",
            f"the start-up line is active, but does not recognise {here.tree}",
            nothing,
            "Give the folder with Z-Waif's main.py; a fork that removed many files is not recognised.",
        )
    return ok(
        "active: a Python of this environment " + ("recognises this Z-Waif" if here.tree else "watches for Z-Waif")
    )


def check_switches(here: Situation) -> Finding:
    """What was switched off by hand, in the environment or in ``.env``."""
    if here.environ.get("ZWAIF_PLUGINS", "").strip().upper() in _OFF:
        return Finding(
            "problem",
            f"ZWAIF_PLUGINS is {here.environ['ZWAIF_PLUGINS']} in this environment",
            "No plugin of Z-Waif's starts, this one included.",
            "Remove the variable, then start Z-Waif again.",
        )
    blocked = [name.strip() for name in here.environ.get("ZWAIF_BLOCK_PLUGINS", "").split(",")]
    if "fallback" in blocked:
        return Finding(
            "problem",
            "ZWAIF_BLOCK_PLUGINS names fallback",
            "Z-Waif starts without this plugin.",
            "Take fallback out of the variable, then start Z-Waif again.",
        )
    if not here.store.get("API_FALLBACK_ENABLED"):
        return Finding(
            "warning",
            "API_FALLBACK_ENABLED is OFF",
            "Z-Waif runs as if the plugin were not installed.",
            "zwaif-fallback enable (or tick Enable API Fallback in the Settings tab)",
        )
    return ok("nothing is switched off")
