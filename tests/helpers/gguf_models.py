"""Tiny GGUF models, made on the spot: the embedded one converted, and one that can say a single sentence."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

SENTENCE = " a\U0001f600b\u00e9."
"""What the parrot says behind ``[/INST]``: characters of one, two and four bytes, each byte a token."""
PARROT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}{{ eos_token }}"
    "{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}"
)
_WIDE = 320
_WORDS = ("▁[", "▁a", "▁H", "▁He", "▁Hel", "▁Hell", "▁Hello", "▁t", "▁th", "▁the", "▁ther", "▁there", "INST")


def convert_companion(target: Path, file_type: str = "F16") -> Path:
    """The embedded model as GGUF."""
    from tools.tiny_model import to_gguf

    to_gguf.convert(to_gguf.MODEL, target, file_type)
    return target


def make_parrot(
    target: Path,
    layers: int = 1,
    control: Mapping[str, int] = MappingProxyType({}),
    template: str | None = None,
) -> Path:
    """A model with Mistral's kind of tokenizer, begin token included, that says :data:`SENTENCE` and ends.

    Its layers add nothing, so what follows a token depends on that token alone: each has one row in the output.
    ``control`` are more tokens, each with its kind.
    """
    import gguf
    import numpy as np

    texts, kinds = _vocabulary(gguf)
    texts, kinds = [*texts, *control], [*kinds, *control.values()]
    writer = gguf.GGUFWriter(target, "llama")
    _write_shape(writer, layers, len(texts))
    _write_tokenizer(writer, texts, kinds)
    template = PARROT_TEMPLATE if template is None else template
    if template:
        writer.add_chat_template(template)
    output = np.zeros((len(texts), _WIDE), np.float32)
    said = ["]", "▁", "a", *(f"<0x{byte:02X}>" for byte in "\U0001f600".encode()), "b", "<0xC3>", "<0xA9>", ".", "</s>"]
    for token, following in itertools.pairwise(said):
        output[texts.index(following), texts.index(token)] = 1.0
    writer.add_tensor("token_embd.weight", np.eye(len(texts), _WIDE, dtype=np.float32))
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(_WIDE, np.float32))
    for layer in range(layers):
        for name, shape in _LAYER.items():
            fill = np.ones if "norm" in name else np.zeros
            writer.add_tensor(f"blk.{layer}.{name}.weight", fill(shape, np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return target


def make_forward_only(target: Path) -> Path:
    """An LFM2 of two layers with random weights: one keeps a state of what it read, one keeps a cache."""
    import gguf
    import numpy as np

    texts, kinds = _vocabulary(gguf)
    writer = gguf.GGUFWriter(target, "lfm2")
    writer.add_context_length(4096)
    writer.add_embedding_length(64)
    writer.add_block_count(2)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv([0, 2])
    writer.add_shortconv_l_cache(3)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(len(texts))
    _write_tokenizer(writer, texts, kinds)
    state = {"shortconv.conv": (64, 3), "shortconv.in_proj": (192, 64), "shortconv.out_proj": (64, 64)}
    cache = {"attn_q": (64, 64), "attn_k": (32, 64), "attn_v": (32, 64), "attn_output": (64, 64)}
    both = {"ffn_gate": (128, 64), "ffn_up": (128, 64), "ffn_down": (64, 128)}
    norms = {"token_embd_norm": 64, "blk.1.attn_q_norm": 16, "blk.1.attn_k_norm": 16}
    norms |= {f"blk.{layer}.{name}": 64 for layer in range(2) for name in ("attn_norm", "ffn_norm")}
    shapes = {"token_embd": (len(texts), 64)}
    shapes |= {f"blk.0.{name}": shape for name, shape in (state | both).items()}
    shapes |= {f"blk.1.{name}": shape for name, shape in (cache | both).items()}
    random = np.random.default_rng(1)
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", random.standard_normal(shape, dtype=np.float32) * np.float32(0.1))
    for name, width in norms.items():
        writer.add_tensor(f"{name}.weight", np.ones(width, np.float32))
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file):
        write()
    writer.close()
    return target


_LAYER: dict[str, Any] = {
    "attn_norm": _WIDE,
    "ffn_norm": _WIDE,
    **{f"attn_{part}": (_WIDE, _WIDE) for part in ("q", "k", "v", "output")},
    "ffn_gate": (32, _WIDE),
    "ffn_up": (32, _WIDE),
    "ffn_down": (_WIDE, 32),
}


def _vocabulary(gguf: Any) -> tuple[list[str], list[int]]:
    kind = gguf.TokenType
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    kinds = [kind.UNKNOWN, kind.CONTROL, kind.CONTROL, *[kind.BYTE] * 256]
    words = list(dict.fromkeys([*_WORDS, *"▁abehilortHINST/[].?"]))
    return [*texts, *words], [*kinds, *[kind.NORMAL] * len(words)]


def _write_shape(writer: Any, layers: int, size: int) -> None:
    writer.add_name("Parrot")
    writer.add_context_length(1024)
    writer.add_embedding_length(_WIDE)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(32)
    writer.add_head_count(4)
    writer.add_head_count_kv(4)
    writer.add_rope_dimension_count(_WIDE // 4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(size)


def _write_tokenizer(writer: Any, texts: list[str], kinds: list[int]) -> None:
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([float(len(text)) if text.startswith("▁") else -1.0 for text in texts])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
