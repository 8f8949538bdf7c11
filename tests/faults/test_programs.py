"""The programs that measure recovery and look for flakes are kept alive, with a few of everything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_two_recoveries_and_a_flapping_door() -> None:
    command = [sys.executable, "-m", "benchmarks.recovery", "--stub", "--recoveries", "2", "--flap", "3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert "2 recoveries" in done.stdout, done.stdout + done.stderr
    assert len(re.findall(r"turns, 0 failed", done.stdout)) == 2, done.stdout
    assert len(re.findall(r"^\| until .*(\| [\d.]+ ){3}\|$", done.stdout, re.M)) == 2


def test_the_search_for_flakes_runs_a_part_of_the_matrix_twice() -> None:
    command = [sys.executable, "-m", "benchmarks.flakes", "--runs", "2", "--only", "test_a_row and http_40"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert re.search(r"^2 runs, [1-9]\d* tests, 0 failures$", done.stdout, re.M), done.stdout + done.stderr
    assert done.returncode == 0
