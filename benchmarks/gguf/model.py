"""A GGUF model of random weights: what a token costs depends on a model's shape, not on what it has learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import gguf
from tools.tiny_model import to_gguf

SIZES = {"tiny": (64, 2, 4, 4, 128), "110m": (768, 12, 12, 4, 2048), "1b": (2048, 22, 32, 4, 5632)}
"""Width, layers, heads, key-value heads, inner width."""
WINDOW = 4096
_FIRST_WORD, _LAST_WORD = 10, 1500
"""Ids of the embedded model's vocabulary that are ordinary text."""


def make(target: Path, size: str, kind: str = "Q4_0") -> Path:
    """Write a Llama with the embedded model's tokenizer and a vocabulary of 32,000."""
    wide, layers, heads, groups, inner = SIZES[size]
    config = {
        "max_position_embeddings": WINDOW,
        "hidden_size": wide,
        "num_hidden_layers": layers,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": groups,
        "rope_theta": 10000.0,
        "rms_norm_eps": 1e-5,
        "vocab_size": 32_000,
    }
    writer = gguf.GGUFWriter(target, "llama")
    to_gguf.write_shape(writer, config, kind)
    to_gguf.write_tokenizer(writer, to_gguf.MODEL, 32_000)
    _write_weights(writer, config, kind)
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return target


def _write_weights(writer: Any, config: dict[str, Any], kind: str) -> None:
    random = np.random.default_rng(0)
    quantized = gguf.GGMLQuantizationType[kind]
    wide, inner = config["hidden_size"], config["intermediate_size"]
    narrow = wide // config["num_attention_heads"] * config["num_key_value_heads"]

    def matrix(name: str, rows: int, columns: int) -> None:
        values = random.standard_normal((rows, columns), dtype=np.float32) * 0.02
        if name == "output.weight":
            values[:_FIRST_WORD] = values[_LAST_WORD:] = 0  # never an end token, always text
        writer.add_tensor(name, gguf.quants.quantize(values, quantized), raw_dtype=quantized)

    def norm(name: str) -> None:
        writer.add_tensor(name, np.ones(wide, np.float32))

    matrix("token_embd.weight", config["vocab_size"], wide)
    matrix("output.weight", config["vocab_size"], wide)
    norm("output_norm.weight")
    for block in (f"blk.{layer}." for layer in range(config["num_hidden_layers"])):
        norm(block + "attn_norm.weight")
        norm(block + "ffn_norm.weight")
        for part, rows in (("attn_q", wide), ("attn_k", narrow), ("attn_v", narrow), ("attn_output", wide)):
            matrix(f"{block}{part}.weight", rows, wide)
        for part, rows, columns in (("gate", inner, wide), ("up", inner, wide), ("down", wide, inner)):
            matrix(f"{block}ffn_{part}.weight", rows, columns)
