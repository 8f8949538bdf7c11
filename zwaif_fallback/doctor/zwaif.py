"""Checks of Z-Waif: whether it is found, its release, and whether the plugin starts with it."""

from __future__ import annotations

import re
from pathlib import Path

from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.install_hints import this_package
from zwaif_hooks.host import known_parts
from zwaif_hooks.startup import switched_off

_RELEASE = re.compile(r"^\s*v(\d+(?:\.\d+)*(?:-R\d+)?)\s*$", re.IGNORECASE | re.MULTILINE)
# fmt: off
TRIED = (
    "1.3", "1.3-R2", "1.4", "1.5-R2", "1.6", "1.7",
    "1.8-R3", "1.9", "1.9-R3", "1.10", "1.11", "1.12",
    "1.13", "1.14", "1.14-R3", "1.14-R4", "1.15",
)
# fmt: on
"""Releases, as they name themselves, that were tested with a real outage (CHANGELOG.md)."""


def release(tree: Path) -> str:
    """Return the newest release in the tree's changelog, or an empty string."""
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
            "no Z-Waif found",
            "Its settings, LLM server and character cannot be checked.",
            "Run this in Z-Waif's folder, or add --zwaif FOLDER.",
        )
    found = release(here.tree)
    if found in TRIED:
        return ok(f"v{found} in {here.tree}")
    named = f"v{found}" if found else "an unknown release"
    return Finding(
        "warning",
        f"{named} in {here.tree}",
        f"{len(TRIED)} releases from v{TRIED[0]} to v{TRIED[-1]} were tested. "
        "Others most likely work, perhaps without some parts of the plugin.",
        "Try it out (nothing is changed): zwaif-fallback test",
    )


def check_parts(here: Situation) -> Finding:
    """Check that the tree has what each feature needs; a future release or a fork may not."""
    if here.tree is None:
        return skipped("no Z-Waif found")
    missing = known_parts.missing(here.tree)
    if not missing:
        return ok("this Z-Waif has what every feature needs")
    features = "a feature is" if len(missing) == 1 else f"{len(missing)} features are"
    return Finding(
        "warning",
        f"{features} off, because this Z-Waif differs from the releases that are known",
        "Messages are answered all the same."
        if known_parts.EVERY_REPLY not in missing
        else "Nothing answers when its LLM server fails.",
        f"Update this package: {this_package()}",
        tuple(f"{part.feature}: no {part.needs}" for part in missing),
    )


def check_environment(here: Situation) -> Finding:
    """Check that this command runs in Z-Waif's environment, the folder ``venv`` that its start script makes."""
    own = here.tree / "venv" if here.tree else None
    if own is None or not (own / "pyvenv.cfg").is_file():
        return skipped("Z-Waif has no venv folder to compare with")
    if own.resolve() == here.prefix.resolve():
        return ok(f"{own}")
    return Finding(
        "warning",
        f"this command runs in {here.prefix}, Z-Waif in {own}",
        "The lines below about libraries and the start-up line are about the first; Z-Waif uses the second.",
        "Activate Z-Waif's own environment (venv), then run this again.",
    )


def check_hook(here: Situation) -> Finding:
    state = here.hook(here.tree, here.environ)
    nothing = "Z-Waif starts without the plugin: there is no fallback."
    install = f"Activate Z-Waif's own environment (venv), then: {this_package()}"
    if state.error:
        return Finding("problem", f"Python could not be started in this environment: {state.error}", nothing, install)
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
            "Z-Waif is watched, but nothing answers when its LLM server fails.",
            f"pip uninstall -y zwaif-fallback. Then: {this_package()}",
        )
    if here.tree is not None and not state.tree:
        return Finding(
            "problem",
            f"the start-up line is active, but does not recognise {here.tree}",
            nothing,
            "Give the folder with Z-Waif's main.py; a fork that removed many files is not recognised.",
        )
    return ok("active" + (", and recognises this Z-Waif" if here.tree else ""))


def check_switches(here: Situation) -> Finding:
    """Check that nothing was switched off by hand, in the environment or in ``.env``."""
    if switched_off(here.environ):
        return Finding(
            "problem",
            f"ZWAIF_PLUGINS is {here.environ['ZWAIF_PLUGINS']} in this environment",
            "No Z-Waif plugin starts, including this one.",
            "Remove the variable, then restart Z-Waif.",
        )
    if any(one.name == "fallback" and one.state == "blocked" for one in here.plugins.manager.states()):
        return Finding(
            "problem",
            "ZWAIF_BLOCK_PLUGINS has fallback",
            "Z-Waif starts without this plugin.",
            "zwaif-fallback plugins unblock fallback (or remove it from the environment variable). Restart Z-Waif.",
        )
    if not here.store.get("API_FALLBACK_ENABLED"):
        return Finding(
            "warning",
            "API_FALLBACK_ENABLED is OFF",
            "Z-Waif works as if the plugin were not installed.",
            "zwaif-fallback enable (or tick Enable API Fallback in the Settings tab)",
        )
    return ok("everything is switched on")
