"""The transformers engine on a graphics card, at the real shapes of models on the list, beside ``model.generate``.

    python -m benchmarks.gpu --all                        # a quarter of an hour on a card
    python -m benchmarks.gpu --shapes tiny --device cpu   # shows on any machine that the program runs

Random weights are made on the device and written once to a temporary folder; nothing is downloaded. For each shape and
way, medians of several fresh workers: seconds to load, peak memory of the card beside the figure planned with, seconds
to the first text, tokens a second of the first reply and of later ones, the latter beside the best of the bare ways,
first text at turn 10, and what the card gets back by a switch. Each bare way runs in a process of its own
(``benchmarks.gpu_bare``), a GGUF file of the same shape with whatever engine the package chooses. ``--full`` fills the
card to the brim and takes over; ``--takeover`` times whole takeovers: cold, standing by, warm.
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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from benchmarks import gpu_bare  # noqa: E402
from benchmarks.engines.model import FIRST_WORD, LAST_WORD  # noqa: E402
from benchmarks.gguf.model import make as make_gguf  # noqa: E402
from benchmarks.prefix.model import _tokenizer  # noqa: E402
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions  # noqa: E402
from zwaif_fallback.errors import FallbackError  # noqa: E402
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
    "| of the best bare way | first text at turn 10, s | GB kept after unloading |"
)


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


def ask(local: LocalModel, prompt: str, tokens: int) -> tuple[float, float]:
    """Seconds to the first piece, and tokens a second behind it."""
    stats, at = GenerationStats(), list[float]()
    began = time.perf_counter()
    for _ in local.generate(Generation(prompt, tokens, sampling=GREEDY), stats):
        at.append(time.perf_counter())
    return at[0] - began, (stats.generated_tokens - 1) / max(at[-1] - at[0], 1e-9)


def one_run(model: Path, way: str, device: str, tokens: int) -> tuple[LoadedModel, dict[str, float]]:
    """What a fresh worker takes to load, for its first reply, for later ones, and what it leaves on the card."""
    before, local = used(), LocalModel()
    try:
        began = time.perf_counter()
        loaded = local.load(LoadOptions(str(model), device=device, quantization=WAYS.get(way, "auto")))
        row = {"load": time.perf_counter() - began}
        row["text"], row["first"] = ask(local, SENTENCE * 8, tokens)
        row["later"] = statistics.median(ask(local, SENTENCE * 8 + "And then? " * n, tokens)[1] for n in (1, 2, 3))
        prompt = ""
        for turn in range(TURNS):
            prompt += f"{turn}. {SENTENCE * 3}"
            row["turn"], _ = ask(local, prompt, 8)
        row["peak"] = (used() - before if gpus_now() else loaded.memory_bytes) / 1e9
    finally:
        local.close()
    return loaded, row | {"left": (used() - before) / 1e9}


def measure(name: str, model: Path, way: str, options: argparse.Namespace, best: float) -> str:
    """One row of the table: medians of several runs, each in a fresh worker."""
    rows = []
    for _ in range(options.runs):
        loaded, row = one_run(model, way, options.device, options.reply)
        rows.append(row)
    median = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    planned = need(read_model(model), plan_of(loaded), loaded.info.context_window).total / 1e9
    beside = f"{median['later'] / best:.2f}×" if best else "-"
    weights = f"GGUF {loaded.quantization}" if loaded.engine == "gguf" else loaded.quantization or loaded.dtype
    cells = (
        *(f"{median[key]:.1f}" for key in ("load", "peak")),
        f"{planned:.1f}",
        f"{median['text']:.2f}",
        *(f"{median[key]:.1f}" for key in ("first", "later")),
        beside,
        f"{median['turn']:.2f}",
        f"{median['left']:.2f}",
    )
    return f"| {name} | {weights}, {loaded.device} | {' | '.join(cells)} |"


def read_model(model: Path) -> ModelFacts:
    return read_folder(model) if model.is_dir() else read_gguf(model)


def plan_of(loaded: LoadedModel) -> Plan:
    return Plan("cpu" if loaded.device == "cpu" else "cuda", loaded.dtype, int(loaded.quantization[:1] == "4") * 4)


def bare(model: Path, weights: str, options: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Each way and its tokens a second; a way that does not work here is told and left out."""
    for way in options.bare if weights == "bf16" else options.bare[:2]:
        command = [sys.executable, "-m", "benchmarks.gpu_bare", str(model), way, "--weights", weights]
        command += ["--device", options.device, "--tokens", str(options.reply)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"bare, {way}: does not work here ({(done.stderr.strip().splitlines() or ['?'])[-1][:120]})")
        else:
            yield way, json.loads(done.stdout.splitlines()[-1])


def takeover(model: Path, options: argparse.Namespace) -> None:
    """From a server that refuses to the first text, in a host of its own; see ``benchmarks.takeover``."""
    command = [sys.executable, "-m", "benchmarks.takeover", str(model), "--runs", str(options.runs)]
    command += ["--ways", "cold,standby,warm", "--device", options.device]
    subprocess.run(command, cwd=ROOT, check=True)


def brim(folder: Path, device: str) -> str:
    """Fill the card as a stuck server does, then take over: where does the reply come from?"""
    import torch

    ballast = []
    if device != "cpu":
        free, _ = torch.cuda.mem_get_info()
        ballast.append(torch.empty(max(0, free - 300_000_000), dtype=torch.uint8, device=device))
    local = LocalModel()
    try:
        began = time.perf_counter()
        loaded = local.load(LoadOptions(str(folder), device="auto"))
        ask(local, SENTENCE, 8)
        return f"Card full: an answer from {loaded.device} {time.perf_counter() - began:.1f} s after the call."
    except FallbackError as error:
        return f"Card full: no answer ({error})"
    finally:
        local.close()


def show(name: str, folder: Path, options: argparse.Namespace, end: float) -> None:
    """Everything about one shape, what matters most first."""
    import torch

    if time.monotonic() > end:
        print(f"{name}: left out, the time is up")
        return
    model = make(folder / "model", SHAPES[name], options.device)
    if options.device == "cuda":
        torch.cuda.empty_cache()
    table = [HEAD, "|---" * (HEAD.count("|") - 1) + "|"]
    for way in (way for way in WAYS if way in options.ways):
        theirs = dict(bare(model, way, options))
        for bare_way, speed in theirs.items():
            print(f"| {name} | bare, {way}, {bare_way} | {speed['first']:.1f} | {speed['again']:.1f} |", flush=True)
        best = max((speed["again"] for speed in theirs.values()), default=0.0)
        table.append(measure(name, model, way, options, best))
        print(table[-1], flush=True)
        if time.monotonic() > end:
            break
    if name in GGUF_SIZES and "GGUF" in options.ways and time.monotonic() < end:
        table.append(measure(name, make_gguf(folder / "model.gguf", GGUF_SIZES[name]), "GGUF", options, 0))
    print("\n" + "\n".join(table) + "\n", flush=True)
    if options.full and time.monotonic() < end:
        print(brim(model, options.device) + "\n", flush=True)
    if options.takeover and name == options.shapes[0] and time.monotonic() < end:
        takeover(model, options)


def main(arguments: Sequence[str] | None = None) -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=["TinyLlama-1.1B", "Mistral-7B", "Phi-2"])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--reply", type=int, default=128, help="tokens whose speed is taken")
    parser.add_argument("--bare", nargs="*", choices=gpu_bare.WAYS, default=list(gpu_bare.WAYS), help="default: all")
    parser.add_argument("--ways", nargs="+", choices=(*WAYS, "GGUF"), default=[*WAYS, "GGUF"])
    parser.add_argument("--runs", type=int, default=3, help="fresh workers whose median is taken")
    parser.add_argument("--minutes", type=float, default=14, help="after which nothing more is begun")
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
    print(machine() + "\n")
    print("| shape | bare way | first reply, tokens/s | again |\n|---|---|---|---|")
    for name in options.shapes:
        with tempfile.TemporaryDirectory() as folder:
            show(name, Path(folder), options, end)
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
