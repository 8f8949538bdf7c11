"""The local engines beside the bare libraries, all in one run: tokens a second, and whether Z-Waif's threads feel it.

    python -m benchmarks.engines [--size 110m] [--rounds 5] [--reply 64] [--only NAME …] [--keep FOLDER]

Models of random weights are made on the spot. Everybody makes one reply in turn, so that a busy machine slows all
alike, and everybody's threads wait as the worker's do (``PATIENT``). Who is not installed is left out with a line.
With ``--keep`` a run that was stopped goes on after its last finished round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from benchmarks.engines import contenders, report  # noqa: E402
from benchmarks.engines.jitter import jitter  # noqa: E402
from benchmarks.engines.model import make  # noqa: E402
from benchmarks.prefix.model import SIZES  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="110m")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--reply", type=int, default=64, help="tokens of each reply")
    parser.add_argument("--prompt", type=int, default=256, help="tokens of the prompt")
    parser.add_argument("--only", nargs="*", help="names of contenders")
    parser.add_argument("--keep", type=Path, help="folder for models and finished rounds; a temporary one by default")
    parser.add_argument("--skip-jitter", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        run(options, options.keep or Path(scratch))
    return 0


def run(options: argparse.Namespace, folder: Path) -> None:
    model = folder / options.size
    if not (model / "model.safetensors").exists():
        model.mkdir(parents=True, exist_ok=True)
        make(model, options.size)
    kept = folder / f"{options.size}-{options.prompt}-{options.reply}.jsonl"
    rounds = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.exists() else []
    with contenders.started(model, options.only) as (running, missing):
        for number in range(len(rounds), options.rounds):
            names = list(running)[:: 1 if number % 2 else -1]
            rounds.append({name: running[name].reply(options.prompt, options.reply, number) for name in names})
            with kept.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(rounds[-1]) + "\n")
        print(
            f"{platform.machine()}, {os.cpu_count()} cores, {report.versions()}; {options.size}, "
            f"{options.prompt} + {options.reply} tokens, {len(rounds)} rounds\n"
        )
        print("\n".join(report.table(rounds)))
        for line in missing:
            print(f"\nLeft out: {line}")
        ours = next((name for name in running if name.startswith(contenders.OURS)), None)
        if ours and not options.skip_jitter:
            print("\n" + "\n".join(jitter(lambda: running[ours].reply(options.prompt, options.reply, -1))))


if __name__ == "__main__":
    sys.exit(main())
