"""Is the fault matrix free of flakes?

    python -m benchmarks.flakes [--runs 100] [--jobs 2] [--first 1] [--minutes 60] [--only EXPRESSION]

Runs the matrix (each of the 35 rows, with each client library that can meet it, streamed and whole) once for each seed.
The seed decides the order of the tests, the jitter of the probes, and how long each thread runs before another gets its
turn. No run is begun after ``--minutes``. Exit code 1 when any test failed in any run. Each is told with its seed, and
``FLAKES_SEED=7 python -m pytest -p benchmarks.flakes.shuffle tests/faults/test_catalogue.py`` plays that run again.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MATRIX = "tests/faults/test_catalogue.py"


@dataclass(frozen=True)
class Run:
    """One pass through the matrix."""

    seed: int
    passed: int
    failed: tuple[str, ...]
    """Test names, and what they failed of."""
    seconds: float
    ended_well: bool


def one(seed: int, only: str) -> Run:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "benchmarks.flakes.shuffle", "--tb=line", "-rf", MATRIX]
    began = time.monotonic()
    done = subprocess.run(
        [*command, *(["-k", only] if only else [])],
        cwd=ROOT,
        env={
            **os.environ,
            "FLAKES_SEED": str(seed),
            "COLUMNS": "400",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "hooks")]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    passed = re.search(r"(\d+) passed", done.stdout)
    failed = tuple(re.findall(r"^FAILED (.*)$", done.stdout, re.M))
    if done.returncode not in (0, 1):
        failed += (f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-300:]!r}",)
    return Run(seed, int(passed[1]) if passed else 0, failed, time.monotonic() - began, done.returncode == 0)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.flakes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--first", type=int, default=1, metavar="SEED")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--only", default="", metavar="EXPRESSION", help="as pytest's -k")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    until = time.monotonic() + 60 * options.minutes
    seeds = range(options.first, options.first + options.runs)
    with ThreadPoolExecutor(options.jobs) as pool:
        runs = [run for run in pool.map(lambda seed: _told(seed, options.only, until), seeds) if run is not None]
    counts = Counter(re.sub(r" - .*", "", name) for run in runs for name in run.failed)
    tests = sum(run.passed + len(run.failed) for run in runs)
    print(f"{len(runs)} runs, {tests} tests, {sum(counts.values())} failures")
    for name, count in counts.most_common():
        print(f"  {count} of {len(runs)}: {name}")
    return int(not runs or not all(run.ended_well for run in runs))


def _told(seed: int, only: str, until: float) -> Run | None:
    if time.monotonic() > until:
        return None
    run = one(seed, only)
    print(f"seed {seed}: {run.passed} passed, {len(run.failed)} failed, {run.seconds:.0f} s", flush=True)
    for name in run.failed:
        print(f"  {name}", flush=True)
    return run


if __name__ == "__main__":
    sys.exit(main())
