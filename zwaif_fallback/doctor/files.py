"""Files: what ``.env`` says, whether the log can be written, and what it said last."""

from __future__ import annotations

import difflib
import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from zwaif_fallback.doctor.findings import Finding, Situation, ok, skipped
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks import log
from zwaif_hooks.host import env_file

NO_SETTING = frozenset({"API_FALLBACK_API_KEY"})
"""Ours, but never written by us."""
_OURS = "API_FALLBACK_"
_RECENT_SECONDS = 7 * 24 * 3600.0
_STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
_ENTRY = re.compile(rf"^({_STAMP}),\d+ (.+)\n(?!{_STAMP}|\Z)", re.MULTILINE)
"""With a traceback below; an entry without one tells of the LLM server, which is no error of ours."""
_LOOKED_AT = 64 * 1024
"""Bytes at the end of the log."""


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


def check_log_folder(here: Situation) -> Finding:
    folder = log.log_path().parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"can be written")
    except OSError as error:
        return Finding(
            "warning",
            f"{folder} cannot be written ({error.strerror or error})",
            "When something fails, nobody can find out why afterwards.",
            f"Allow your user to write to {folder}, and check that the disk is not full.",
        )
    return ok(f"can be written: {log.log_path()}")


def check_last_errors(here: Situation, now: Callable[[], float] = time.time) -> Finding:
    path = log.log_path()
    recent = [line for when, line in entries(path) if now() - when < _RECENT_SECONDS]
    if not recent:
        return ok("none in the last seven days")
    newest = list(dict.fromkeys(reversed(recent)))
    return Finding(
        "warning",
        newest[0],
        f"{len(recent)} in the last seven days; each was survived when it happened.",
        f"If it goes on, look into {path}, or look the text up in docs/troubleshooting.md.",
        tuple(newest[1:3]),
    )


def entries(path: Path) -> list[tuple[float, str]]:
    """Time and text of what was reported, oldest first; nothing where there is no readable log."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOOKED_AT))
            text = file.read().decode("utf-8", "replace").replace("\r\n", "\n")
    except OSError:
        return []
    found = []
    for stamp, line in _ENTRY.findall(text):
        thread_and_text = line.split(" ", 1)
        found.append((time.mktime(time.strptime(stamp, "%Y-%m-%d %H:%M:%S")), thread_and_text[-1]))
    return found
