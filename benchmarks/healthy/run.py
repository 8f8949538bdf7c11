"""``python -m benchmarks.healthy``: prints what the guards add to a healthy turn."""

from __future__ import annotations

import argparse

from benchmarks.healthy.clients import Client, Ollama, Requests, guarded
from benchmarks.healthy.measure import SMOKE, Amount, Side, measure, median, quantile
from benchmarks.healthy.server import Running


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.healthy", description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a few of everything: only shows that the program lives")
    parser.add_argument("--only", choices=("requests", "ollama"), help="one client library")
    args = parser.parse_args()
    with Running() as server:
        for make in (Requests, Ollama):
            if args.only in (None, make.name):
                _compare(server, make(server.address), SMOKE if args.smoke else Amount())


def _compare(server: Running, client: Client, amount: Amount) -> None:
    with guarded(client) as guard:
        bare, ours = measure(server, client, guard, amount)
    print(f"\n## {client.name}\n")
    print("| microseconds | without us, p50 | added, p50 | added, p99 |")
    print("| --- | --- | --- | --- |")
    for name, a, b in _rows(bare, ours):
        more = quantile(b, 0.99) - quantile(a, 0.99)
        print(f"| {name} | {median(a):.1f} | {median(b) - median(a):+.1f} | {more:+.1f} |")
    print(f"\nRequests a turn: {bare.requests / bare.turns:g} without us, {ours.requests / ours.turns:g} with us.")


def _rows(bare: Side, ours: Side) -> list[tuple[str, list[float], list[float]]]:
    rows = [
        ("to the first text", bare.first, ours.first),
        ("a whole turn of 7 chunks", bare.turn, ours.turn),
        ("a chunk, all at once", bare.burst, ours.burst),
    ]
    return rows + [(f"a chunk, {pace} a second", bare.paced[pace], ours.paced[pace]) for pace in bare.paced]
