"""Checks of ``.env``: usable values, known names."""

from __future__ import annotations

import difflib
from collections import Counter

from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_hooks.host import env_file

NO_SETTING = frozenset({"API_FALLBACK_API_KEY"})
"""Our keys that are no settings: we read them, but never write them."""
_OURS = "API_FALLBACK_"


def check_env_values(here: Situation) -> Finding:
    """Check that ``.env`` is readable and each of our values is usable."""
    problems, left_out = here.store.problems(), here.store.left_out()
    if not problems and left_out:
        meaning = "The plugin works without this setting, or not at all."
        return Finding("warning", left_out[0], meaning, "Tell the author of the plugin.", tuple(left_out[1:]))
    if not problems:
        return ok(f"all {len(here.store.table)} settings are usable")
    return Finding(
        "problem",
        problems[0],
        "The default is used instead.",
        "Correct the line in Z-Waif's .env, or: zwaif-fallback settings set NAME VALUE",
        (*problems[1:], *left_out),
    )


def check_env_names(here: Situation) -> Finding:
    """Check for unknown names: nothing else reports a misspelt one."""
    path = here.tree / ".env" if here.tree else None
    if path is None or not path.is_file():
        return skipped("no .env to read")
    try:
        names = env_file.names(path)
    except env_file.EnvFileError as error:
        return skipped(str(error))
    known = {setting.name for setting in here.store.table} | NO_SETTING
    lines = [_unknown(name, known) for name in dict.fromkeys(names) if name.startswith(_OURS) and name not in known]
    lines += here.store.mistyped()
    twice = [name for name, count in Counter(names).items() if count > 1 and name in known]
    lines += [f"{name} appears more than once; the last line counts" for name in twice]
    lines += [f"{name} is also set as an environment variable, which takes precedence" for name in _hidden(here, known)]
    if not lines:
        return ok("no unknown or repeated names")
    return Finding(
        "warning",
        lines[0],
        "Such a line has no effect.",
        f"Correct or remove it in {path}.",
        tuple(lines[1:]),
    )


def _unknown(name: str, known: set[str] | frozenset[str]) -> str:
    """Say that a name is unknown. Similar names are looked for without the prefix that all of them share."""
    ends = sorted(one.removeprefix(_OURS) for one in known if one.startswith(_OURS))
    near = difflib.get_close_matches(name.removeprefix(_OURS), ends, n=1)
    return f"{name} is not a setting" + (f"; did you mean {_OURS}{near[0]}?" if near else "")


def _hidden(here: Situation, known: set[str]) -> list[str]:
    """Return the keys of ``.env`` for which the environment has another value."""
    own = env_file.read(here.tree / ".env") if here.tree else {}
    return [name for name in sorted(known) if name in own and here.environ.get(name, own[name]) != own[name]]
