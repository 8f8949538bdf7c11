"""What the start-up line costs a Python process that is not Z-Waif.

    python benchmarks/startup_cost.py [--runs 300]

Two folders are made, each holding what an environment's site folder would: one with the start-up line, one with an
empty line in its place. Processes with the one and the other are started in turn, so that a busy machine slows both;
reported are medians and the median of the differences between neighbours.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINE = (ROOT / "zwaif_hooks.pth").read_text(encoding="utf-8").strip()
CASES = {
    "python -c pass": "pass",
    "the same, the line run twice (as in a venv)": "pass",
    "python -c 'import main', a main.py of somebody else's": "import main",
}


def processes(folder: Path, case: str, active: bool) -> tuple[list[str], dict[str, str]]:
    """Command and environment of one start; without site-packages, so that nothing else adds to the noise."""
    lines = [f"import sys; sys.path.append({str(ROOT / 'hooks')!r})"]
    if active:
        lines += [LINE] * (2 if "twice" in case else 1)
    (folder / "start.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    start = f"import site; site.addsitedir({str(folder)!r}); {CASES[case]}"
    return [sys.executable, "-I", "-S", "-c", start], {**os.environ}


def seconds(command: list[str], env: dict[str, str], cwd: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=env, cwd=cwd, check=True)
    return time.perf_counter() - began


def measure(case: str, runs: int, scratch: Path) -> tuple[float, float, float]:
    """Median seconds without, with, and of the differences between neighbours."""
    project = scratch / "project"
    project.mkdir(exist_ok=True)
    (project / "main.py").write_text("answer = 42\n", encoding="utf-8")
    starts = {}
    for active in (False, True):
        folder = scratch / f"{abs(hash(case))}-{active}"
        folder.mkdir()
        command, env = processes(folder, case, active)
        command[-1] = command[-1].replace(
            "import site;", f"import sys; sys.path.insert(0, {str(project)!r}); import site;"
        )
        starts[active] = (command, env)
        for _ in range(5):  # compiles and warms the disk
            seconds(command, env, project)
    pairs = [(seconds(*starts[False], project), seconds(*starts[True], project)) for _ in range(runs)]
    without, with_line = zip(*pairs, strict=True)
    return (
        statistics.median(without),
        statistics.median(with_line),
        statistics.median(b - a for a, b in pairs),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=300, help="starts of each kind (default: 300)")
    runs = parser.parse_args().runs
    print(f"Python {sys.version.split()[0]}, {os.cpu_count()} cores, {runs} starts of each kind in turn; milliseconds")
    print(f"{'':56}{'without':>9}{'with':>9}{'costs':>9}")
    with tempfile.TemporaryDirectory() as scratch:
        for case in CASES:
            without, with_line, cost = measure(case, runs, Path(scratch))
            print(f"{case:56}{without * 1e3:9.2f}{with_line * 1e3:9.2f}{cost * 1e3:9.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
