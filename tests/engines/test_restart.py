"""A real llama.cpp server that is killed and started again; the benchmark with a few kills."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("xllamacpp", reason="xllamacpp is not installed here")
pytestmark = [pytest.mark.slow]
ROOT = Path(__file__).parents[2]


def test_a_server_that_is_killed_three_times_is_back_three_times_and_no_reply_is_lost() -> None:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "hooks")])}
    command = [sys.executable, "-m", "benchmarks.restart", "--kills", "3"]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kills, 3 starts" in done.stdout and ", 0 lost" in done.stdout
    assert "processes left: 0" in done.stdout
