"""The transformers engine on a graphics card, at the real shapes of models on the list, beside ``model.generate``.

    python -m benchmarks.gpu --all --keep figures.jsonl   # on a card; a second call goes on
    python -m benchmarks.gpu --shapes tiny --device cpu   # shows on any machine that the program runs

Random weights are made on the device and written once to a temporary folder; nothing is downloaded. For each shape and
way, medians of several fresh workers: seconds to load, peak memory of the card with a full window beside the figure
planned with, seconds to the first text, tokens a second of the first reply and of later ones, the latter beside the
best of the bare ways, first text at turn 10, and what the card gets back by a switch. Each bare way runs in a process
of its own (``benchmarks.gpu_bare``), a GGUF file of the same shape with whatever engine the package chooses. ``--full``
fills the card to the brim and takes over; ``--takeover`` times whole takeovers: cold, standing by, warm.

Everything is measured once before anything is measured again, so a short time gives all rows with fewer runs. What
fails is one line, and the rest goes on. The tables of docs/performance.md come last; ``--keep FILE`` also writes each
figure to a file at once, and a second call with the same file adds to it.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from benchmarks import gpu_bare  # noqa: E402
from benchmarks.engines.model import FIRST_WORD, LAST_WORD  # noqa: E402
from benchmarks.prefix.model import _tokenizer  # noqa: E402
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions  # noqa: E402
from zwaif_fallback.engines.error_messages import first_line  # noqa: E402
from zwaif_fallback.hardware import gpus_now  # noqa: E402
from zwaif_fallback.local.model import LocalModel  # noqa: E402
from zwaif_fallback.models.facts import ModelFacts  # noqa: E402
from zwaif_fallback.models.gguf_facts import read_gguf  # noqa: E402
from zwaif_fallback.models.memory import Plan, need  # noqa: E402
from zwaif_fallback.models.safetensors_facts import read_folder  # noqa: E402
from zwaif_hooks.messages import Sampling  # noqa: E402

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
SENTENCE = "I was wondering what your perfect lazy day looks like, with tea and an old song on the radio. "
TURNS = 10
WAYS = {"bf16": "none", "4-bit": "4bit"}
GGUF_SIZES = {"TinyLlama-1.1B": "1b", "tiny": "tiny"}
"""Sizes of ``benchmarks.gguf``: Q4_0."""
HEAD = (
    "| shape | weights, device | load s | peak GB | planned GB | first text, s | first reply, tokens/s | later "
    "| of the best bare way | first text at turn 10, s | GB kept after unloading | runs |"
)
BARE_HEAD = "| shape | bare way | first reply, tokens/s | again | runs |"
TAKEOVER_HEAD = "| shape | what | how | seconds to the first text | runs |"
LONGEST = {"bare": 150.0, "takeover": 240.0}
"""Seconds for a process of its own, after which it counts as failed."""
Row = dict[str, Any]
Files = Callable[[], Path]


@dataclass(frozen=True)
class Shape:
    """Sizes of a published model."""

    kind: str
    hidden: int
    layers: int
    heads: int
    groups: int
    inner: int
    vocabulary: int
    window: int


SHAPES = {
    "TinyLlama-1.1B": Shape("llama", 2048, 22, 32, 4, 5632, 32_000, 2048),
    "Phi-2": Shape("phi", 2560, 32, 32, 32, 10_240, 51_200, 2048),
    "Mistral-7B": Shape("mistral", 4096, 32, 32, 8, 14_336, 32_000, 8192),
    "Neural-Chat-7B": Shape("mistral", 4096, 32, 32, 8, 14_336, 32_000, 8192),
    "tiny": Shape("llama", 64, 2, 4, 2, 128, 1024, 2048),
}


def make(folder: Path, shape: Shape, device: str) -> Path:
    """Write a model of random bfloat16 weights that never ends a reply by itself."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PhiConfig

    tokenizer = _tokenizer()
    config = {"llama": LlamaConfig, "mistral": MistralConfig, "phi": PhiConfig}[shape.kind](
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.groups,
        max_position_embeddings=shape.window,
        bos_token_id=1,
        eos_token_id=2,
    )
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, torch_dtype=torch.bfloat16)
    with torch.no_grad():
        head = model.get_output_embeddings().weight
        head[:FIRST_WORD] = head[LAST_WORD:] = 0  # never an end token, always text
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def used() -> int:
    """Bytes in use on all cards, by whoever; 0 without a card."""
    return sum(gpu.total - gpu.free for gpu in gpus_now())


def ask(local: LocalModel, prompt: str, tokens: int) -> tuple[float, float, int]:
    """Seconds to the first piece, tokens a second behind it, and tokens of the prompt."""
    stats, at = GenerationStats(), list[float]()
    began = time.perf_counter()
    for _ in local.generate(Generation(prompt, tokens, sampling=GREEDY), stats):
        at.append(time.perf_counter())
    return at[0] - began, (stats.generated_tokens - 1) / max(at[-1] - at[0], 1e-9), stats.prompt_tokens


def ours(files: Files, way: str, options: argparse.Namespace) -> Row:
    """What a fresh worker takes to load, for its first reply, for later ones, and what it leaves on the card."""
    model = files()
    before, local = used(), LocalModel()
    try:
        began = time.perf_counter()
        loaded = local.load(LoadOptions(str(model), device=options.device, quantization=WAYS.get(way, "auto")))
        row: Row = {"load": time.perf_counter() - began}
        row["text"], row["first"], read = ask(local, SENTENCE * 8, options.reply)
        row["later"] = statistics.median(
            ask(local, SENTENCE * 8 + "And then? " * n, options.reply)[1] for n in (1, 2, 3)
        )
        most, prompt = used(), ""
        for turn in range(TURNS):
            prompt += f"{turn}. {SENTENCE * 3}"
            row["turn"] = ask(local, prompt, 8)[0]
        window = loaded.info.context_window
        if options.device == "cuda":  # reading a full window takes a processor minutes
            ask(local, SENTENCE * (8 * (window - 64) // read), 8)
        row["peak"] = (max(most, used()) - before if gpus_now() else loaded.memory_bytes) / 1e9
        row["planned"] = need(read_model(model), plan_of(loaded), window).total / 1e9
        row["weights"] = (
            f"GGUF {loaded.quantization}" if loaded.engine == "gguf" else loaded.quantization or loaded.dtype
        )
        row["weights"] += f", {loaded.device}"
    finally:
        local.close()
    return row | {"left": (used() - before) / 1e9}


def line(name: str, rows: Sequence[Row], best: float) -> str:
    """Return one row of the table: medians of several runs, each in a fresh worker."""
    median = {key: statistics.median(row[key] for row in rows) for key in rows[0] if key != "weights"}
    cells = (
        *(f"{median[key]:.1f}" for key in ("load", "peak", "planned")),
        f"{median['text']:.2f}",
        *(f"{median[key]:.1f}" for key in ("first", "later")),
        f"{median['later'] / best:.2f}×" if best else "-",
        f"{median['turn']:.2f}",
        f"{median['left']:.2f}",
        f"{len(rows)}",
    )
    return f"| {name} | {rows[0]['weights']} | {' | '.join(cells)} |"


def read_model(model: Path) -> ModelFacts:
    return read_folder(model) if model.is_dir() else read_gguf(model)


def plan_of(loaded: LoadedModel) -> Plan:
    return Plan("cpu" if loaded.device == "cpu" else "cuda", loaded.dtype, int(loaded.quantization[:1] == "4") * 4)


def bare(files: Files, way: str, weights: str, options: argparse.Namespace) -> Row:
    command = [sys.executable, "-m", "benchmarks.gpu_bare", str(files()), way, "--weights", weights]
    command += ["--device", options.device, "--tokens", str(options.reply)]
    return dict(json.loads(output_of(command, LONGEST["bare"]).splitlines()[-1]))


def takeover(files: Files, way: str, options: argparse.Namespace) -> Row:
    """From a server that refuses to the first text, in a host of its own; see ``benchmarks.takeover``."""
    command = [sys.executable, "-m", "benchmarks.takeover", str(files()), "--runs", "1"]
    command += ["--ways", way, "--device", options.device]
    told = output_of(command, LONGEST["takeover"])
    print(told, flush=True)
    (row,) = (line.split() for line in told.splitlines() if line.startswith(way))
    return {"load": float(row[1]), "text": float(row[2]), "sentence": float(row[3])}


def output_of(command: list[str], seconds: float) -> str:
    """Return what a process prints.

    Raises:
        RuntimeError: it failed; with its last line.
        TimeoutExpired: it was stopped.
    """
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["no message"])[-1])
    return done.stdout


def brim(files: Files, device: str) -> Row:
    """Fill the card as a stuck server does, then take over: where does the reply come from?"""
    import torch

    folder, ballast = files(), []
    if device != "cpu":
        free, _ = torch.cuda.mem_get_info()
        ballast.append(torch.empty(max(0, free - 300_000_000), dtype=torch.uint8, device=device))
    local = LocalModel()
    try:
        began = time.perf_counter()
        loaded = local.load(LoadOptions(str(folder), device="auto"))
        ask(local, SENTENCE, 8)
        row = {"text": time.perf_counter() - began, "device": loaded.device}
    finally:
        local.close()
        ballast.clear()
        if device != "cpu":
            torch.cuda.empty_cache()
    return row


@dataclass(frozen=True)
class Part:
    """One thing to measure, once."""

    shape: str
    kind: str
    """``ours``, ``bare``, ``takeover`` or ``card full``."""
    way: str
    measure: Callable[[], Row]

    @property
    def key(self) -> str:
        return f"{self.shape} | {self.kind}, {self.way}"


class Model:
    """A shape's files, made when first asked for."""

    def __init__(self, folder: Path, name: str, device: str) -> None:
        self._folder, self._name, self._device = folder, name, device

    def safetensors(self) -> Path:
        import torch

        if not self._folder.exists():
            make(self._folder, SHAPES[self._name], self._device)
            if self._device == "cuda":
                torch.cuda.empty_cache()
        return self._folder

    def gguf(self) -> Path:
        from benchmarks.gguf.model import make as make_gguf  # late: needs the package gguf, the rest does not

        file = self._folder.with_suffix(".gguf")
        return file if file.exists() else make_gguf(file, GGUF_SIZES[self._name])


def parts(folder: Path, options: argparse.Namespace) -> list[Part]:
    """Return what is to be measured, what matters most first."""
    models = {name: Model(folder / name, name, options.device) for name in options.shapes}
    found = []
    for way in (way for way in WAYS if way in options.ways):
        # 4-bit weights are not compiled, and eager attention gains nothing with them.
        bare_ways = options.bare if way == "bf16" else options.bare[:2]
        for name, model in models.items():
            found.append(Part(name, "ours", way, partial(ours, model.safetensors, way, options)))
            for bare_way in bare_ways:
                run = partial(bare, model.safetensors, bare_way, way, options)
                found.append(Part(name, "bare", f"{way}, {bare_way}", run))
    name, model = next(iter(models.items()))
    if options.takeover:
        for way in ("cold", "standby", "warm"):
            found.append(Part(name, "takeover", way, partial(takeover, model.safetensors, way, options)))
    if options.full:
        found.append(Part(name, "card full", "auto", partial(brim, model.safetensors, options.device)))
    if "GGUF" in options.ways:
        for name in (name for name in models if name in GGUF_SIZES):
            found.append(Part(name, "ours", "GGUF", partial(ours, models[name].gguf, "GGUF", options)))
    return found


def measure(part: Part, keep: Path | None) -> Row | None:
    """Return what was measured; None if it failed, which is one line."""
    began = time.monotonic()
    try:
        row = part.measure()
    except Exception as error:  # whatever is wrong with one figure, the others are still wanted
        print(f"{part.key}: failed ({type(error).__name__}: {first_line(error)})", flush=True)
        return None
    figures = {key: round(value, 2) if isinstance(value, float) else value for key, value in row.items()}
    print(f"{part.key}: {json.dumps(figures)} in {time.monotonic() - began:.0f} s", flush=True)
    if keep is not None:
        with keep.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"key": part.key, "row": row}) + "\n")
    return row


def kept_rows(keep: Path | None) -> dict[str, list[Row]]:
    """Return what an earlier call has written to the file."""
    rows: dict[str, list[Row]] = {}
    if keep is not None and keep.exists():
        for text in keep.read_text(encoding="utf-8").splitlines():
            told = json.loads(text)
            rows.setdefault(told["key"], []).append(told["row"])
    return rows


def tables(wanted: Sequence[Part], rows: dict[str, list[Row]]) -> str:
    """Return the tables of docs/performance.md."""
    found: dict[str, list[str]] = {BARE_HEAD: [], HEAD: [], TAKEOVER_HEAD: []}
    best: dict[str, float] = {}
    for part in wanted:
        made = rows.get(part.key)
        if made and part.kind == "bare":
            first, again = (statistics.median(row[key] for row in made) for key in ("first", "again"))
            found[BARE_HEAD].append(f"| {part.shape} | {part.way} | {first:.1f} | {again:.1f} | {len(made)} |")
            way = f"{part.shape}, {part.way.split(',')[0]}"
            best[way] = max(best.get(way, 0.0), again)
    for part in wanted:
        made = rows.get(part.key)
        if made and part.kind == "ours":
            found[HEAD].append(line(part.shape, made, best.get(f"{part.shape}, {part.way}", 0.0)))
        if made and part.kind in ("takeover", "card full"):
            seconds = statistics.median(row["text"] for row in made)
            found[TAKEOVER_HEAD].append(f"| {part.shape} | {part.kind} | {part.way} | {seconds:.2f} | {len(made)} |")
    return "\n\n".join(
        "\n".join([head, "|---" * (head.count("|") - 1) + "|", *lines]) for head, lines in found.items() if lines
    )


def main(arguments: Sequence[str] | None = None) -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["TinyLlama-1.1B", "Mistral-7B"])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--reply", type=int, default=128, help="tokens whose speed is taken")
    parser.add_argument("--bare", nargs="*", choices=gpu_bare.WAYS, default=list(gpu_bare.WAYS), help="default: all")
    parser.add_argument("--ways", nargs="+", choices=(*WAYS, "GGUF"), default=[*WAYS, "GGUF"])
    parser.add_argument("--runs", type=int, default=3, help="fresh workers whose median is taken")
    parser.add_argument("--minutes", type=float, default=8.5, help="after which nothing more is begun")
    parser.add_argument(
        "--keep", type=Path, metavar="FILE", help="write each figure to it, and begin with what is in it"
    )
    parser.add_argument("--full", action="store_true", help="also take over with the card filled to the brim")
    parser.add_argument("--takeover", action="store_true", help="also time takeovers with the first shape")
    parser.add_argument("--all", action="store_true", help="--full and --takeover")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("No NVIDIA card is usable here. To see that the program runs: --shapes tiny --device cpu")
        return 1
    options.full |= options.all
    options.takeover |= options.all
    end = time.monotonic() + options.minutes * 60
    print(machine() + "\n", flush=True)
    rows = kept_rows(options.keep)
    with tempfile.TemporaryDirectory() as folder:
        wanted = parts(Path(folder), options)
        failed = set[str]()
        for run in range(1, options.runs + 1):
            for part in (part for part in wanted if part.key not in failed and len(rows.get(part.key, ())) < run):
                if time.monotonic() > end:
                    print(f"{part.key}, run {run}: left out, the time is up", flush=True)
                elif (row := measure(part, options.keep)) is not None:
                    rows.setdefault(part.key, []).append(row)
                else:
                    failed.add(part.key)
    print("\n" + tables(wanted, rows))
    return 0


def machine() -> str:
    """What the figures depend on, in one line."""
    parts = [gpu.name for gpu in gpus_now()] or ["no card"]
    parts += [f"{os.cpu_count()} cores", f"Python {platform.python_version()}"]
    for package in ("torch", "transformers", "bitsandbytes", "accelerate", "xllamacpp"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            parts.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join([*parts, f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"])


if __name__ == "__main__":
    sys.exit(main())
