"""Child processes for checks: a library that crashes or hangs on import must not take ``doctor`` with it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from zwaif_fallback.hardware import NO_WINDOW
from zwaif_fallback.workers.worker_process import describe_exit, neutral_folder, worker_environment

IMPORT_SECONDS = 120.0
"""Longest import: torch from a cold disk, with a virus scanner reading each of its files."""
_MARK = "zwaif-doctor:"
"""Marks the line with our JSON; libraries may print anything around it."""

_IMPORT = """
import json, importlib
facts, error = {{}}, ""
try:
    {body}
except BaseException as problem:
    error = f"{{type(problem).__name__}}: {{problem}}"
print("\\n{mark}" + json.dumps([facts, error]))
"""
_BODIES = {
    "torch": "import torch; facts = dict(cuda=torch.version.cuda, hip=getattr(torch.version, 'hip', None), "
    "available=bool(torch.cuda.is_available()))",
    # Tried out: each version of bitsandbytes has another way to say whether it was built for the card.
    "bitsandbytes": "import torch, bitsandbytes.functional as made; "
    "torch.cuda.is_available() and made.quantize_4bit(torch.ones(64, 64, dtype=torch.float16, device='cuda'))",
}
_HOOK = """
import importlib.util, json, sys
from importlib import metadata
watcher = next((one for one in sys.meta_path if type(one).__name__ == "ImportWatcher"), None)
plugins = sorted(point.name for point in metadata.entry_points(group="zwaif"))
if len(sys.argv) > 1:
    sys.path.insert(0, sys.argv[1])
    importlib.util.find_spec("main")
print("\\n{mark}" + json.dumps([watcher is not None, getattr(watcher, "tree", ""), plugins]))
"""


@dataclass(frozen=True)
class Imported:
    """The result of an import."""

    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    """One line; empty if it worked."""


@dataclass(frozen=True)
class HookState:
    """Whether a fresh Python of this environment loads our start-up line, and finds our plugin."""

    active: bool
    tree: str = ""
    """The Z-Waif that it recognised when ``main`` was looked up; empty if it did not, or none was given."""
    plugins: tuple[str, ...] = ()
    """Names of the installed Z-Waif plugins."""
    error: str = ""


@cache
def import_in_a_child(module: str) -> Imported:
    """Import a library in a child process of this environment."""
    body = _BODIES.get(module, f"importlib.import_module({module!r})")
    answer, error = _answer([_IMPORT.format(body=body, mark=_MARK)], worker_environment(os.environ))
    if answer is None:
        return Imported(error=error)
    facts, problem = answer
    return Imported(dict(facts), next(iter(str(problem).strip().splitlines()), "")[:300])


def look_for_the_hook(tree: Path | None, environ: Mapping[str, str]) -> HookState:
    """Start Python as Z-Waif is started, without the switches that turn plugins off, and look for the hook."""
    switches = ("ZWAIF_PLUGINS", "ZWAIF_BLOCK_PLUGINS")
    env = {name: value for name, value in environ.items() if name not in switches}
    arguments = [_HOOK.replace("{mark}", _MARK), *([str(tree)] if tree else [])]
    answer, error = _answer(arguments, env, seconds=30.0)
    if answer is None:
        return HookState(False, error=error)
    active, found, plugins = answer
    return HookState(bool(active), str(found), tuple(plugins))


def _answer(arguments: Sequence[str], env: Mapping[str, str], seconds: float = IMPORT_SECONDS) -> tuple[Any, str]:
    """Run a child and return the JSON it printed after the mark, or None and the reason."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", *arguments],
            env=dict(env),
            cwd=neutral_folder(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            creationflags=NO_WINDOW,
        )
    except subprocess.TimeoutExpired:
        return None, f"it did not finish within {seconds:.0f} s"
    except OSError as error:
        return None, f"Python could not be started: {error}"
    line = next((line for line in reversed(done.stdout.splitlines()) if line.startswith(_MARK)), None)
    if line is None:
        last = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "")
        return None, f"{describe_exit(done.returncode)}{f' ({last.strip()[:200]})' if last else ''}"
    return json.loads(line[len(_MARK) :]), ""
