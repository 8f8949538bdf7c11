"""The transformers engine on a graphics card, at the real shapes of the four models on the list.

    python -m benchmarks.gpu [--shapes TinyLlama-1.1B …] [--device cuda] [--full]

Random weights are made on the device and written once to a temporary folder; nothing is downloaded. For each shape and
way: seconds to load, peak memory of the card beside the figure planned with, tokens a second beside ``model.generate``,
first token at turn 10, and what the card gets back by a switch. ``--full`` fills the card to the brim and takes over.
``--shapes tiny --device cpu`` shows on any machine that the program runs.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from benchmarks.engines.model import FIRST_WORD, LAST_WORD  # noqa: E402
from benchmarks.prefix.model import _tokenizer  # noqa: E402
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions  # noqa: E402
from zwaif_fallback.errors import FallbackError  # noqa: E402
from zwaif_fallback.hardware import gpus_now  # noqa: E402
from zwaif_fallback.local.model import LocalModel  # noqa: E402
from zwaif_fallback.models.memory import Plan, need, planned_window  # noqa: E402
from zwaif_fallback.models.safetensors_facts import read_folder  # noqa: E402
from zwaif_hooks.messages import Sampling  # noqa: E402

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
SENTENCE = "I was wondering what your perfect lazy day looks like, with tea and an old song on the radio. "
TURNS = 10
WAYS = {"bf16": "none", "4-bit": "4bit"}
HEAD = (
    "| shape | way | load s | peak GB | planned GB | tokens/s | beside generate | first token at turn 10, s "
    "| GB kept after unloading |"
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


def bare(folder: Path, way: str, device: str, tokens: int) -> float:
    """Tokens a second of ``model.generate`` on the same model."""
    import gc

    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    arguments: dict[str, Any] = {"torch_dtype": torch.bfloat16, "device_map": {"": 0 if device == "cuda" else device}}
    if way == "4-bit" and device != "cpu":
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    model = AutoModelForCausalLM.from_pretrained(folder, **arguments).eval()
    ids = AutoTokenizer.from_pretrained(folder)(SENTENCE * 8, return_tensors="pt").input_ids.to(model.device)
    seconds = []
    for length in (1, 1, tokens + 1):  # the first one warms up, the second is the prompt alone
        began = time.perf_counter()
        model.generate(ids, max_new_tokens=length, min_new_tokens=length, do_sample=False, pad_token_id=0)
        seconds.append(time.perf_counter() - began)
    del model
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
    return tokens / max(seconds[2] - seconds[1], 1e-9)


def measure(name: str, folder: Path, way: str, device: str, tokens: int) -> str:
    before, local = used(), LocalModel()
    try:
        began = time.perf_counter()
        loaded = local.load(LoadOptions(str(folder), device=device, quantization=WAYS[way]))
        load = time.perf_counter() - began
        ask(local, SENTENCE, 4)
        _, rate = ask(local, SENTENCE * 8, tokens)
        prompt, first = "", 0.0
        for turn in range(TURNS):
            prompt += f"{turn}. {SENTENCE * 3}"
            first, _ = ask(local, prompt, 8)
        peak = used() - before if gpus_now() else loaded.memory_bytes
    finally:
        local.close()
    left = used() - before
    theirs = bare(folder, way, device, tokens)
    facts = read_folder(folder)
    planned = need(facts, Plan("cuda", bits=4 if way == "4-bit" else 0), planned_window(facts)).total
    cells = (load, peak / 1e9, planned / 1e9, rate)
    return (
        f"| {name} | {loaded.quantization or loaded.dtype} | {' | '.join(f'{cell:.1f}' for cell in cells)} "
        f"| {rate / theirs:.2f}× | {first:.2f} | {left / 1e9:.2f} |"
    )


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


def main(arguments: Sequence[str] | None = None) -> int:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, default=[name for name in SHAPES if name != "tiny"])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--reply", type=int, default=128, help="tokens whose speed is taken")
    parser.add_argument("--full", action="store_true", help="also take over with the card filled to the brim")
    options = parser.parse_args(arguments)
    if options.device == "cuda" and not torch.cuda.is_available():
        print("No NVIDIA card is usable here. To see that the program runs: --shapes tiny --device cpu")
        return 1
    print(f"torch {torch.__version__}, {', '.join(gpu.name for gpu in gpus_now()) or 'no card'}\n")
    print(HEAD + "\n" + "|---" * (HEAD.count("|") - 1) + "|")
    for name in options.shapes:
        with tempfile.TemporaryDirectory() as folder:
            model = make(Path(folder), SHAPES[name], options.device)
            for way in WAYS:
                print(measure(name, model, way, options.device, options.reply), flush=True)
            if options.full:
                print("\n" + brim(model, options.device) + "\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
