"""What ``.env`` says: values that can be used, names that exist."""

from __future__ import annotations

import difflib
from collections import Counter

from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks.host import env_file

NO_SETTING = frozenset({"API_FALLBACK_API_KEY"})
"""Ours, but never written by us."""
_OURS = "API_FALLBACK_"


def check_env_values(here: Situation) -> Finding:
    """Readable, and every value of ours can be used."""
    problems = here.store.problems()
    if not problems:
        return ok(f"{len(SETTINGS)} settings, all of them usable")
    return Finding(
        "problem",
        problems[0],
        "The default counts in place of what cannot be used.",
        "Correct the line in Z-Waif's .env, or: zwaif-fallback settings set NAME VALUE",
        tuple(problems[1:]),
    )


def check_env_names(here: Situation) -> Finding:
    """A misspelt name is silently without effect everywhere else."""
    path = here.tree / ".env" if here.tree else None
    if path is None or not path.is_file():
        return skipped("no .env to read")
    try:
        names = env_file.names(path)
    except env_file.EnvFileError as error:
        return skipped(str(error))
    known = {setting.name for setting in SETTINGS} | NO_SETTING
    lines = [_unknown(name, known) for name in dict.fromkeys(names) if name.startswith(_OURS) and name not in known]
    twice = [name for name, count in Counter(names).items() if count > 1 and name in known]
    lines += [f"{name} is there more than once; the last line counts" for name in twice]
    lines += [f"{name} is also exported in this environment, which counts more" for name in _hidden(here, known)]
    if not lines:
        return ok("every name is known and there once")
    return Finding(
        "warning",
        lines[0],
        "Such a line has no effect.",
        f"Correct or remove it in {path}.",
        tuple(lines[1:]),
    )


def _unknown(name: str, known: set[str] | frozenset[str]) -> str:
    """The prefix that all have in common makes none of them similar."""
    ends = sorted(one.removeprefix(_OURS) for one in known if one.startswith(_OURS))
    near = difflib.get_close_matches(name.removeprefix(_OURS), ends, n=1)
    return f"{name} is no setting" + (f"; did you mean {_OURS}{near[0]}?" if near else "")


def _hidden(here: Situation, known: set[str]) -> list[str]:
    """Keys of ``.env`` that the environment overrules with something else."""
    own = env_file.read(here.tree / ".env") if here.tree else {}
    return [name for name in sorted(known) if name in own and here.environ.get(name, own[name]) != own[name]]
