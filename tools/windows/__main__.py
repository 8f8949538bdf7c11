"""The command line: makes the Windows, installs the package there, tries it, and shows a table."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tools.windows import parts
from tools.windows.installing import Home, install
from tools.windows.making import CannotBeMade, make
from tools.windows.windows import Windows

FOLDER = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zwaif-fallback-windows"
LIMITS = (
    "symbolic links need a privilege that Wine's user lacks, as on a real Windows",
    "a refused connection fails at once in Wine; on a real Windows it takes 2 s",
    "the waking of a blocked read by shutdown() is that of Linux",
    "Wine shows no CPU times of other processes; here those of a worker are always 0",
    "cmd.exe is told by the test how it was started, as Wine's does not know; the batch files avoid what it lacks",
    "no real console window, no Store, no winget, no graphics card",
)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/test-windows", description=__doc__)
    names = ["make", "install", *parts.TESTS, *parts.COMMANDS]
    parser.add_argument("part", nargs="*", help=f"do only these: {', '.join(names)} (default: all)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where the Windows is (default: %(default)s)")
    parser.add_argument("--gguf", type=Path, help="a GGUF model for test, chat and pythonw (default: one of 1 MB)")
    parser.add_argument(
        "--tests", default="*", metavar="NAME", help="of unit, faults, host and engines only test_NAME.py"
    )
    options = parser.parse_args()
    if unknown := set(options.part) - set(names):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


def _rows(home: Home, wanted: list[str], tests: str) -> Iterator[parts.Row]:
    for name in parts.TESTS:
        if not wanted or name in wanted:
            yield from parts.tests(home, name, tests)
    for name, part in parts.COMMANDS.items():
        if not wanted or name in wanted:
            yield from part(home)


def _show(rows: list[parts.Row]) -> None:
    for row in rows:
        for problem in row.problems:
            print(f"\n--- {problem.strip()}")
    print("\nSkipped, and why:")
    for reason, count in sum((row.reasons for row in rows), Counter()).most_common():
        print(f"  {count:4}  {reason}")
    print("What Wine cannot show:")
    for limit in LIMITS:
        print(f"        {limit}")
    total = parts.Row("together", *(sum(getattr(row, name) for row in rows) for name in parts.COUNTS))
    print(f"\n{'':52}{'passed':>8}{'failed':>8}{'skipped':>8}{'seconds':>9}")
    for row in (*rows, total):
        print(f"{row.name:52}{row.passed:8}{row.failed:8}{row.skipped:8}{row.seconds:9.0f}")


def main() -> int:
    """Exit status: 0 all is well, 1 something failed, 2 the Windows cannot be made."""
    options = _options()
    home = Home(Windows(options.folder.resolve()))
    started = time.monotonic()
    try:
        make(home.windows)
        print(f"Windows is in {home.windows.folder} ({time.monotonic() - started:.0f} s)", flush=True)
        if options.part == ["make"]:
            return 0
        install(home, options.gguf)
    except CannotBeMade as error:
        print(error, file=sys.stderr)
        return 2
    print(f"The package is installed in {home.scripts.parent} ({time.monotonic() - started:.0f} s)", flush=True)
    rows = []
    for row in _rows(home, options.part, options.tests):
        print(f"{row.name}: {row.passed} passed, {row.failed} failed, {row.skipped} skipped", flush=True)
        rows.append(row)
    if rows:
        _show(rows)
    return int(any(row.failed for row in rows))


if __name__ == "__main__":
    sys.exit(main())
