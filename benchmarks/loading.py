"""Where the time of a load goes, step by step: in a new process and a standby one, from a cold and a warm file cache.

    python -m benchmarks.loading MODEL [--runs 5] [--device auto] [--quantization auto]
    python -m benchmarks.loading --size 1.1B   # a model of random weights, made for the occasion (benchmarks.memory)

Medians of several runs in turn. ``process`` is what the engine does not time itself: starting Python and importing this
package. ``whole`` is the load as its caller waits for it; ``processor`` counts the worker's processor time, and ``MB of
its own`` its memory at the end without what it shares with files. Clearing the file cache needs Linux; elsewhere only
the warm rows are made. ``MB on standby`` is what the process held before the load.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.gpu import machine
from benchmarks.memory import SIZES, make_folder
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.local.model import LocalModel

LONGEST = 300.0
"""Seconds until a process on standby is ready, at the lowest priority."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, nargs="?", help="a GGUF file or a folder with safetensors")
    parser.add_argument("--size", choices=[size.name for size in SIZES], default="110M", help="if there is no MODEL")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="auto", help="as in API_FALLBACK_DEVICE")
    parser.add_argument("--quantization", default="auto", help="as in API_FALLBACK_QUANTIZATION")
    asked = parser.parse_args()
    with model(asked.model, asked.size) as folder:
        options = LoadOptions(str(folder), device=asked.device, quantization=asked.quantization)
        rows: dict[str, list[dict[str, float]]] = {}
        for _ in range(asked.runs):
            for standby in (False, True):
                for cold in (True, False) if hasattr(os, "posix_fadvise") else (False,):
                    name = f"{'standby' if standby else 'new'} process, {'cold' if cold else 'warm'} cache"
                    rows.setdefault(name, []).append(one_load(options, standby=standby, cold=cold))
    print(f"{folder.name}, seconds, medians of {asked.runs} runs; {machine()}\n")
    print(table({name: medians(runs) for name, runs in rows.items()}))
    return 0


@contextlib.contextmanager
def model(given: Path | None, size: str) -> Iterator[Path]:
    if given is not None:
        yield given.resolve()
        return
    with tempfile.TemporaryDirectory() as work:
        yield make_folder(next(one for one in SIZES if one.name == size), Path(work))


def one_load(options: LoadOptions, *, standby: bool, cold: bool) -> dict[str, float]:
    """Return the seconds of each step of one load, and what the worker took."""
    before: dict[str, float] = {}
    with contextlib.closing(LocalModel(hang_timeout=LONGEST)) as local:
        if standby:
            local.stand_by(options)
            held = psutil.Process(local.standing_by).memory_full_info()
            before = {"MB on standby": held.rss / 1e6, "MB on standby, its own": held.uss / 1e6}
        if cold:
            forget(Path(options.model))
        began = time.perf_counter()
        loaded = local.load(options)
        row = {**loaded.load_steps, "whole": time.perf_counter() - began}
        assert local.pid is not None
        worker = psutil.Process(local.pid)
        used = worker.cpu_times()
        row["processor"] = used.user + used.system
        row["MB of its own"] = worker.memory_full_info().uss / 1e6
    return row | before


def forget(place: Path) -> None:
    """Drop a model's files from the system's cache."""
    for file in [place] if place.is_file() else place.iterdir():
        with file.open("rb") as stream:
            os.fdatasync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(run.get(key, 0.0) for run in runs) for key in runs[-1]}


def table(rows: dict[str, dict[str, float]]) -> str:
    steps = list(dict.fromkeys(step for row in rows.values() for step in row))
    lines = [f"| | {' | '.join(steps)} |", "|---" * (len(steps) + 1) + "|"]
    for name, row in rows.items():
        cells = (f"{row.get(step, 0.0):.{0 if step.startswith('MB') else 2}f}" for step in steps)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
