"""Predicted against measured memory: models of several sizes are made on the spot (random weights), loaded by the real
worker, given a prompt that fills their window, and the worker's peak is read from the system.

    python -m benchmarks.memory [--work FOLDER] [--sizes 25M,110M,350M,1.1B] [--kinds bf16,fp32,Q8_0,Q4_0]

Needs Linux (``VmHWM``) or Windows (peak working set), and for GGUF kinds the packages of the extra and ``gguf``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from zwaif_fallback.demo import MODEL as TINY
from zwaif_fallback.engine_types import Generation, LoadOptions
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.models.gguf_facts import read_gguf
from zwaif_fallback.models.memory import Plan, need
from zwaif_fallback.models.safetensors_facts import read_folder

WINDOW = 2048
VOCABULARY = 32_000


@dataclass(frozen=True)
class Size:
    """A llama shape: layers, width, heads, key-value heads, width of the feed-forward part."""

    name: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    inner: int


SIZES = (
    Size("25M", 6, 288, 6, 6, 768),
    Size("110M", 12, 768, 12, 12, 2048),
    Size("350M", 20, 1024, 16, 4, 3456),
    Size("1.1B", 22, 2048, 32, 4, 5632),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", help="where the models are made and kept; a temporary folder otherwise")
    parser.add_argument("--sizes", default=",".join(size.name for size in SIZES))
    parser.add_argument("--kinds", default="bf16,fp32,Q8_0,Q4_0")
    parsed = parser.parse_args()
    work = Path(parsed.work or tempfile.mkdtemp(prefix="zwaif-memory-"))
    sizes = [size for size in SIZES if size.name in parsed.sizes.split(",")]
    print("| Model | Kind | Weights | Cache | Predicted | Measured | Off by |\n|---|---|---|---|---|---|---|")
    try:
        for size in sizes:
            for kind in parsed.kinds.split(","):
                print(_row(size, kind, work), flush=True)
    finally:
        if not parsed.work:
            shutil.rmtree(work, ignore_errors=True)


def _row(size: Size, kind: str, work: Path) -> str:
    gguf = kind not in ("bf16", "fp32")
    place = make_gguf(size, kind, work) if gguf else make_folder(size, work)
    facts = read_gguf(place) if gguf else read_folder(place)
    dtype = {"bf16": "bfloat16", "fp32": "float32"}.get(kind, "")
    expected = need(facts, Plan("cpu", dtype or "bfloat16"), WINDOW)
    measured = measure(place, dtype or "auto")
    off = (expected.peak - measured) / measured
    cells = (f"{amount / 1e6:,.0f} MB" for amount in (expected.weights, expected.cache, expected.peak, measured))
    return f"| {size.name} | {kind} | {' | '.join(cells)} | {off:+.0%} |"


def measure(place: Path, dtype: str) -> int:
    """Bytes: the worker's peak, after it has read a prompt that nearly fills the window and written a few words."""
    model = LocalModel(hang_timeout=600)
    try:
        model.load(LoadOptions(str(place), device="cpu", dtype=dtype, context_window=WINDOW))
        piece = "hello there my friend "
        (tokens,) = model.count_tokens([piece * 20])
        prompt = piece * (20 * (WINDOW - 64) // tokens)
        for _ in model.generate(Generation(prompt, max_tokens=8)):
            pass
        assert model.pid is not None
        return peak(model.pid)
    finally:
        model.close()


def peak(pid: int) -> int:
    """Bytes of memory that a process held at most."""
    if sys.platform == "win32":
        return int(psutil.Process(pid).memory_info().peak_wset)
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell a process's peak")


def make_folder(size: Size, work: Path) -> Path:
    """A llama with random weights in bfloat16, as transformers saves it."""
    folder = work / size.name
    if (folder / "model.safetensors").exists():
        return folder
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.kv_heads,
        intermediate_size=size.inner,
        max_position_embeddings=WINDOW,
        torch_dtype=torch.bfloat16,
    )
    torch.manual_seed(1)
    torch.set_default_dtype(torch.bfloat16)
    LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="10GB")
    torch.set_default_dtype(torch.float32)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(TINY / name, folder / name)
    return folder


def make_gguf(size: Size, kind: str, work: Path) -> Path:
    """The same shape as a GGUF file."""
    file = work / f"{size.name}-{kind}.gguf"
    if not file.exists():
        _write_gguf(size, kind, file)
    return file


def _write_gguf(size: Size, kind: str, file: Path) -> None:
    import gguf
    import numpy

    writer: Any = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(WINDOW)
    writer.add_embedding_length(size.hidden)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.inner)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.kv_heads)
    writer.add_rope_dimension_count(size.hidden // size.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    writer.add_file_type({"Q8_0": 7, "Q4_0": 2}[kind])
    _add_words(writer)
    quantization = gguf.GGMLQuantizationType[kind]
    random = numpy.random.default_rng(1)
    for name, shape in _tensors(size).items():
        data = random.standard_normal(shape, dtype=numpy.float32) * 0.02
        if len(shape) == 1:
            writer.add_tensor(name, numpy.ones(shape, dtype=numpy.float32))
        else:
            writer.add_tensor(name, gguf.quants.quantize(data, quantization), raw_dtype=quantization)
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()


def _add_words(writer: Any) -> None:
    """A vocabulary of single bytes and of words that never occur."""
    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += [f"▁word{number}" for number in range(VOCABULARY - len(words))]
    kinds = [2, 3, 3, *[6] * 256, *[1] * (VOCABULARY - 259)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_scores([0.0] * VOCABULARY)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for message in messages %}{{ message.content }}{% endfor %}")


def _tensors(size: Size) -> dict[str, tuple[int, ...]]:
    wide, narrow = size.hidden, size.hidden // size.heads * size.kv_heads
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (VOCABULARY, wide),
        "output_norm.weight": (wide,),
        "output.weight": (VOCABULARY, wide),
    }
    for layer in range(size.layers):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (wide,),
            f"blk.{layer}.ffn_norm.weight": (wide,),
            f"blk.{layer}.attn_q.weight": (wide, wide),
            f"blk.{layer}.attn_k.weight": (narrow, wide),
            f"blk.{layer}.attn_v.weight": (narrow, wide),
            f"blk.{layer}.attn_output.weight": (wide, wide),
            f"blk.{layer}.ffn_gate.weight": (size.inner, wide),
            f"blk.{layer}.ffn_up.weight": (size.inner, wide),
            f"blk.{layer}.ffn_down.weight": (wide, size.inner),
        }
    return shapes


if __name__ == "__main__":
    main()
