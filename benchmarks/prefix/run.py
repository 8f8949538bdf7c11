"""Time to the first token at turn N beside the same prompt cold, through the worker, in Z-Waif's request shapes.

    python -m benchmarks.prefix [--size 110m] [--tokens 500 1000 2000] [--turns 5] [--shape "v1.15 Ollama"]

The model is made on the spot. For each shape and length of history a chat goes on for some turns while the host's
window slides. Each turn is read three times: as it finds the worker after the last reply (``next turn``),
after what the next prompt begins with was read ahead in between (``read ahead``), and with nothing known (``cold``).
"""

from __future__ import annotations

import argparse
import contextlib
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from benchmarks.prefix.model import SIZES, make  # noqa: E402
from benchmarks.prefix.shapes import SHAPES, Shape, Talk  # noqa: E402
from zwaif_fallback.answering.local_tier import LocalTier  # noqa: E402
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions  # noqa: E402
from zwaif_fallback.local.model import LocalModel  # noqa: E402
from zwaif_fallback.prompt.writer import PromptWriter  # noqa: E402
from zwaif_hooks.messages import ChatRequest, Sampling  # noqa: E402
from zwaif_hooks.stream import CancelScope  # noqa: E402

FORGET = ("?", "!")
"""Prompts that share nothing with a chat, one for each cache the engine may keep."""


class Watched:
    """A local model that notes what its last reply had to read."""

    def __init__(self, local: LocalModel) -> None:
        self.local = local
        self.stats = GenerationStats()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.local.count_tokens(texts)

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        self.stats = GenerationStats()
        return self.local.generate(replace(generation, max_tokens=1, stop=()), self.stats)


@dataclass
class Row:
    """Milliseconds to the first token, turn by turn, and tokens."""

    prompt: list[int] = field(default_factory=list)
    new: list[int] = field(default_factory=list)
    """Tokens that were read at the turn after reading ahead."""
    cold: list[float] = field(default_factory=list)
    next_turn: list[float] = field(default_factory=list)
    ahead: list[float] = field(default_factory=list)
    reading: list[float] = field(default_factory=list)
    """What reading ahead took, between the turns."""


class Bench:
    """One model and one tier, asked as the chain asks them."""

    def __init__(self, folder: Path, size: str) -> None:
        self.local = LocalModel()
        self.loaded: LoadedModel = self.local.load(LoadOptions(str(make(folder, size)), device="cpu"))
        self.loaded = replace(self.loaded, info=replace(self.loaded.info, family="tinyllama"))
        self.forget_history()

    def forget_history(self) -> None:
        self.watched = Watched(self.local)
        self.prompts = PromptWriter(self.watched)
        self.tier = LocalTier(self.watched, lambda: self.loaded, self.prompts, print)

    def forget(self) -> None:
        """Fill the engine's caches with something else."""
        for text in FORGET:
            list(self.local.generate(Generation(text, max_tokens=1, sampling=Sampling(temperature=0))))

    def first_token(self, request: ChatRequest) -> float:
        """Milliseconds from the request to the end of its first token."""
        began = time.perf_counter()
        _, pieces = self.tier.speak(request, "", CancelScope())
        for _ in pieces:
            pass
        return (time.perf_counter() - began) * 1000

    def read_ahead(self, request: ChatRequest, reply: str) -> float:
        began = time.perf_counter()
        self.local.read_ahead(self.prompts.next_turn(request, reply, self.loaded.info))
        return (time.perf_counter() - began) * 1000

    def turns(self, shape: Shape, talk: Talk, turns: int, row: Row) -> None:
        """Each turn twice over: once after the last one as it was left, once after reading ahead."""
        for _ in range(turns):
            request, reply = shape(talk), talk.reply()
            row.cold.append(self._cold(request))
            talk.answered()
            row.next_turn.append(self.first_token(shape(talk)))
            self._cold(request)
            row.reading.append(self.read_ahead(request, reply))
            row.ahead.append(self.first_token(shape(talk)))
            row.prompt.append(self.watched.stats.prompt_tokens)
            row.new.append(self.watched.stats.prompt_tokens - self.watched.stats.reused_tokens)

    def _cold(self, request: ChatRequest) -> float:
        self.forget()
        return self.first_token(request)

    def two_callers(self, shape: Shape, one: Talk, other: Talk, turns: int) -> tuple[float, float]:
        """Milliseconds to the first token of a new turn: of one caller alone, and of two in turn."""
        alone = [self._new_turn(shape, one) for _ in range(turns)]
        in_turn = [self._new_turn(shape, talk) for _ in range(turns) for talk in (other, one)]
        return statistics.median(alone), statistics.median(in_turn[2:] or in_turn)

    def _new_turn(self, shape: Shape, talk: Talk) -> float:
        talk.answered()
        return self.first_token(shape(talk))

    def history_of(self, tokens: int) -> int:
        """Turns whose texts together have about ``tokens`` tokens."""
        talk, total = Talk(), 0
        while total < tokens:
            total += sum(self.local.count_tokens([talk.words(), talk.reply()]))
            talk.answered()
        return talk.turn


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", choices=list(SIZES), default="110m")
    parser.add_argument("--tokens", type=int, nargs="+", default=[500, 1000, 2000], help="of history")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--rag", action="store_true", help="with three memories of 60 tokens, new ones each turn")
    parser.add_argument("--shape", choices=list(SHAPES), action="append")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), arguments.size)
        with contextlib.closing(bench.local):
            report(bench, arguments)
    return 0


def report(bench: Bench, arguments: argparse.Namespace) -> None:
    import torch
    import transformers

    print(f"{platform.machine()}, torch {torch.__version__}, transformers {transformers.__version__}, {arguments.size}")
    print("| Shape | History | Prompt | Cold | Next turn | Read ahead | New tokens | Reading | Ratio |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.shape or SHAPES:
        for tokens in arguments.tokens:
            pairs = bench.history_of(tokens)
            bench.forget_history()
            row = Row()
            bench.turns(SHAPES[name], Talk(limit=pairs, rag=arguments.rag).grown_to(pairs), arguments.turns, row)
            print(_line(name, tokens, row), flush=True)
    bench.forget_history()
    pairs = bench.history_of(arguments.tokens[0])
    one, other = (Talk(subject, limit=pairs).grown_to(pairs) for subject in ("the harbour", "the sea"))
    alone, in_turn = bench.two_callers(SHAPES["v1.15 LM Studio"], one, other, arguments.turns)
    print(f"A new turn, nothing read ahead: {alone:.0f} ms for one caller alone, {in_turn:.0f} ms for two in turn")


def _line(name: str, tokens: int, row: Row) -> str:
    cold, next_turn, ahead = (statistics.median(values) for values in (row.cold, row.next_turn, row.ahead))
    ratio = statistics.median(warm / cold for warm, cold in zip(row.ahead, row.cold, strict=True))
    prompt, new, reading = (statistics.median(values) for values in (row.prompt, row.new, row.reading))
    return (
        f"| {name} | {tokens} | {prompt:.0f} | {cold:.0f} ms | {next_turn:.0f} ms | {ahead:.0f} ms | {new:.0f} | "
        f"{reading:.0f} ms | {ratio:.1%} |"
    )
