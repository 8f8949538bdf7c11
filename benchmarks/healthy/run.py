"""``python -m benchmarks.healthy``: prints what the guards add to a healthy turn, and to a host at rest."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from benchmarks.healthy.clients import Client, Ollama, Requests, guarded
from benchmarks.healthy.footprint import measure as measure_footprint
from benchmarks.healthy.measure import SMOKE, Amount, Side, measure, median, quantile
from benchmarks.healthy.server import Running

LIBRARIES = ("requests", "urllib3", "sseclient-py", "ollama", "httpx")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.healthy", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few of everything: only shows that the program lives")
    parser.add_argument("--only", choices=("requests", "ollama", "rest"), help="one client library, or a host at rest")
    parser.add_argument("--hook", default="", help="a hook that a plugin implements, which does nothing in it")
    parser.add_argument("--tree", type=Path, help="a copy of a real Z-Waif to start instead of the stand-in")
    args = parser.parse_args()
    print(_machine())
    with Running() as server:
        for make in (Requests, Ollama):
            if args.only in (None, make.name):
                _compare(server, make(server.address), SMOKE if args.smoke else Amount(), args.hook)
    if args.only in (None, "rest"):
        _at_rest(1 if args.smoke else 15, 0.1 if args.smoke else 3.0, args.tree)


def _machine() -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    load = f"; load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores{load}. {versions}."


def _at_rest(starts: int, rest: float, tree: Path | None) -> None:
    found = measure_footprint(starts, rest, tree)
    print("\n## A host at rest\n")
    print("| | without us | added |")
    print("| --- | --- | --- |")
    print(f"| until its controller is imported, ms | {found.seconds * 1e3:.0f} | {found.added_seconds * 1e3:+.0f} |")
    print(f"| the same in processor time, ms | {found.cpu * 1e3:.0f} | {found.added_cpu * 1e3:+.0f} |")
    print(f"| memory after {rest:g} s, MB | {found.rss / 1e6:.1f} | {found.added_rss / 1e6:+.1f} |")
    print(f"\ntorch was imported because of us: {'yes' if found.torch else 'no'}.")
    sys.stdout.flush()


def _compare(server: Running, client: Client, amount: Amount, hook: str) -> None:
    with guarded(client, hook) as guard:
        bare, ours = measure(server, client, guard, amount)
    print(f"\n## {client.name}\n")
    print("| microseconds | without us, p50 | added, p50 | added, p10 | added, p99 |")
    print("| --- | --- | --- | --- | --- |")
    for name, a, b in _rows(bare, ours):
        least, most = (quantile(b, share) - quantile(a, share) for share in (0.1, 0.99))
        print(f"| {name} | {median(a):.1f} | {median(b) - median(a):+.1f} | {least:+.1f} | {most:+.1f} |")
    print(f"\nRequests a turn: {bare.requests / bare.turns:g} without us, {ours.requests / ours.turns:g} with us.")


def _rows(bare: Side, ours: Side) -> list[tuple[str, list[float], list[float]]]:
    rows = [
        ("to the first text", bare.first, ours.first),
        ("a whole turn of 7 chunks", bare.turn, ours.turn),
        ("a chunk, all at once", bare.burst, ours.burst),
    ]
    return rows + [(f"a chunk, {pace} a second", bare.paced[pace], ours.paced[pace]) for pace in bare.paced]
