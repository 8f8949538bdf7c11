"""Writes the tiny model as one GGUF file, for llama.cpp and everything built on it.

    python tools/tiny_model/to_gguf.py OUT.gguf [--type F16|Q8_0|Q4_0] [--model FOLDER]

Needs gguf, numpy and safetensors. Tokenizer and chat template are written along, so the file stands by itself.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

MODEL = Path(__file__).resolve().parents[2] / "zwaif_fallback" / "demo" / "model"
FILE_TYPES = {
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
    "Q4_0": gguf.LlamaFileType.MOSTLY_Q4_0,
}


def interleave(weight: Any, heads: int) -> Any:
    """llama.cpp rotates neighbouring pairs of a head's rows, transformers the two halves: reorder the rows."""
    rows = weight.shape[0] // heads
    return weight.reshape(heads, 2, rows // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_shape(writer: Any, config: Any, file_type: str) -> None:
    writer.add_name("zwaif-fallback tiny companion")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_rope_freq_base(float(config["rope_theta"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(FILE_TYPES[file_type])


def write_tokenizer(writer: Any, model: Path, size: int) -> None:
    """Byte-level BPE is what llama.cpp calls ``gpt2``. Ids that pad the vocabulary are marked unused."""
    tokenizer, config = read(model / "tokenizer.json"), read(model / "tokenizer_config.json")
    special = {token["id"]: token["content"] for token in tokenizer["added_tokens"]}
    texts = {number: text for text, number in tokenizer["model"]["vocab"].items()} | special
    kinds = [
        gguf.TokenType.CONTROL if i in special else gguf.TokenType.NORMAL if i in texts else gguf.TokenType.UNUSED
        for i in range(size)
    ]
    ids = {text: number for number, text in special.items()}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([texts.get(i, f"[unused{i}]") for i in range(size)])
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    writer.add_bos_token_id(ids[config["bos_token"]])
    writer.add_eos_token_id(ids[config["eos_token"]])
    writer.add_pad_token_id(ids[config["pad_token"]])
    writer.add_unk_token_id(ids[config["unk_token"]])
    writer.add_add_bos_token(False)
    writer.add_chat_template(config["chat_template"])


def write_weights(writer: Any, model: Path, config: Any, file_type: str) -> None:
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, weight in load_file(model / "model.safetensors").items():
        values = weight.astype(np.float32)
        if name.endswith("q_proj.weight"):
            values = interleave(values, config["num_attention_heads"])
        if name.endswith("k_proj.weight"):
            values = interleave(values, config["num_key_value_heads"])
        short = names.get_name(name, try_suffixes=(".weight",))
        if values.ndim == 1:
            writer.add_tensor(short, values)
        elif file_type == "F16":
            writer.add_tensor(short, values.astype(np.float16))
        else:
            kind = gguf.GGMLQuantizationType[file_type]
            writer.add_tensor(short, gguf.quants.quantize(values, kind), raw_dtype=kind)


def convert(model: Path, target: Path, file_type: str) -> None:
    config = read(model / "config.json")
    writer = gguf.GGUFWriter(target, "llama")
    write_shape(writer, config, file_type)
    write_tokenizer(writer, model, config["vocab_size"])
    write_weights(writer, model, config, file_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--type", choices=FILE_TYPES, default="Q8_0")
    parser.add_argument("--model", type=Path, default=MODEL)
    options = parser.parse_args()
    convert(options.model, options.out, options.type)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
