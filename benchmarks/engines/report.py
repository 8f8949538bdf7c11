"""The table of one run."""

from __future__ import annotations

import importlib.metadata
import statistics
from collections.abc import Sequence

BASE = "bare model.generate, bfloat16"


def table(rounds: Sequence[dict[str, dict[str, float]]]) -> list[str]:
    """Medians over the rounds; ratios are medians of each round's ratio to the bare loop."""
    names = [name for name in rounds[0] if all(name in one for one in rounds)]
    rows = []
    for name in sorted(names):
        ratio = "–"
        if BASE in names:
            ratio = f"{statistics.median(one[name]['rate'] / one[BASE]['rate'] for one in rounds):.2f}×"
        rate, first = (statistics.median(one[name][key] for one in rounds) for key in ("rate", "first"))
        rows.append(f"| {name} | {ratio} | {rate:.1f} | {first:.2f} |")
    return ["| way | beside bare generate | tokens/s | first token, s |", "|---|---|---|---|", *rows]


def versions() -> str:
    """Of the libraries that were there."""
    found = []
    for name in ("torch", "transformers", "ctranslate2"):
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(found)
