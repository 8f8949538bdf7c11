"""Fuzz the readers of foreign bytes.

    python -m tests.fuzz [--inputs 20000] [--seed 1] [TARGET …]

``--show`` prints an input of each failure. Made small, it goes into tests/fuzz/kept.txt when the reader is mended.
"""

from __future__ import annotations

import argparse
import base64
import sys

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(sorted(TARGETS))}; all by default")
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="print the shortest input of each failure, as base64")
    parsed = parser.parse_args()
    failed = False
    for name in parsed.targets or TARGETS:
        report = fuzz(TARGETS[name], parsed.seed, parsed.inputs)
        print(report.line, flush=True)
        for problem, times in report.wrong.most_common():
            failed = True
            print(f"    {times} x {problem}")
            if parsed.show:
                print(f"      {name} {base64.b64encode(report.examples[problem]).decode()[:2000]}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
