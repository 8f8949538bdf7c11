"""What the package adds to a host at rest: seconds until its controller is imported, and memory some seconds later.

Every start is a process of its own, with and without the start-up line in turn. Site folders are added without their
``.pth`` files, so that an installed line counts in neither. Everything is compiled beforehand, as pip does it for
whoever installs the package: compiling a checkout anew at each start takes about as long as all else.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

from zwaif_fallback.standin import copy_tree

ROOT = Path(__file__).resolve().parents[2]
CHILD = """
import sys
sys.path[:0] = {paths!r}
import gc, json, threading, time
began, cpu = time.perf_counter(), time.thread_time()
if {ours!r}:
    import zwaif_hooks.startup
    zwaif_hooks.startup.activate()
import API.api_controller
took, cpu = time.perf_counter() - began, time.thread_time() - cpu
for thread in threading.enumerate():
    if thread.name == "zwaif-plugins":
        thread.join()
time.sleep({rest!r})
gc.collect()
import psutil
print("FOOTPRINT", json.dumps([took, cpu, psutil.Process().memory_info().rss, "torch" in sys.modules]), flush=True)
import os
os._exit(0)
"""


Start = tuple[float, float, int, bool]
"""Seconds, seconds of processor time, bytes, whether torch is there."""


@dataclass
class Footprint:
    """Medians over the starts."""

    seconds: float
    added_seconds: float
    cpu: float
    """Seconds of the importing thread's processor time: what a busy machine lengthens less."""
    added_cpu: float
    rss: float
    """Bytes."""
    added_rss: float
    torch: bool
    """Whether torch was imported in any start with us that did without it without us."""


def measure(starts: int, rest: float = 3.0, tree: Path | None = None) -> Footprint:
    """Of the stand-in, or of a copy of a real ``tree``."""
    pairs: list[tuple[Start, Start]] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        host = tree or copy_tree(Path(folder) / "host", {"HOST_PORT": "127.0.0.1:9"})
        for number in range(-1, starts):
            order = (False, True) if number % 2 else (True, False)
            pair = {ours: _start(host, ours, rest, Path(folder)) for ours in order}
            if number >= 0:  # the first compiles
                pairs.append((pair[False], pair[True]))
    return Footprint(
        *_without_and_added(pairs, 0),
        *_without_and_added(pairs, 1),
        *_without_and_added(pairs, 2),
        torch=any(ours[3] and not bare[3] for bare, ours in pairs),
    )


def _without_and_added(pairs: list[tuple[Start, Start]], what: int) -> tuple[float, float]:
    added = [ours[what] - bare[what] for bare, ours in pairs]
    return statistics.median(bare[what] for bare, _ in pairs), statistics.median(added)


def _start(tree: Path, ours: bool, rest: float, home: Path) -> Start:
    site = sysconfig.get_paths()
    paths = [str(tree), str(ROOT / "hooks"), str(ROOT), site["purelib"], site["platlib"]]
    code = CHILD.format(paths=paths, ours=ours, rest=rest)
    env = {**os.environ, "XDG_STATE_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    env["PYTHONPYCACHEPREFIX"] = str(home / "compiled")
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=tree, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("FOOTPRINT ")]
    if not lines:
        raise RuntimeError(f"the host did not start:\n{done.stdout}\n{done.stderr}")
    took, cpu, rss, torch = json.loads(lines[-1].removeprefix("FOOTPRINT "))
    return took, cpu, rss, torch
