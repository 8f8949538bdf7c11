"""Check of the plugins: each is imported as Z-Waif does it."""

from __future__ import annotations

from zwaif_fallback.doctor.findings import Finding, ok
from zwaif_fallback.doctor.situation import Situation


def check_plugins(here: Situation) -> Finding:
    """Check that every plugin can be imported, and that all of its hooks are called."""
    states, problems = here.plugins.manager.states(), here.plugins.problems
    if not problems:
        return ok(", ".join(f"{one.name} {one.version}".rstrip() for one in states) or "none are loaded")
    return Finding(
        "warning",
        problems[0],
        "Z-Waif and the other plugins go on without it.",
        "Update the plugin or tell its author; to do without it: zwaif-fallback plugins block NAME",
        tuple(problems[1:]),
    )
