"""The benchmarks of the list of models and of memory run, with the smallest of everything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_the_list_of_models() -> None:
    pytest.importorskip("gguf")
    said = run("benchmarks.found", "--files", "4", "--rounds", "1")
    assert said.startswith("4 files, ") and "again, nothing changed: " in said


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads a process's peak from /proc")
def test_predicted_beside_measured_memory() -> None:
    row = run("benchmarks.memory", "--sizes", "25M", "--kinds", "bf16").splitlines()[-1]
    match = re.fullmatch(r"\| 25M \| bf16 \| 49 MB \| 14 MB \| ([\d,]+) MB \| ([\d,]+) MB \| [+-]\d+% \|", row)
    assert match, row
    predicted, measured = (int(figure.replace(",", "")) for figure in match.groups())
    assert measured > 49 + 14, "at least the weights and the cache"
    assert predicted > 49 + 14
