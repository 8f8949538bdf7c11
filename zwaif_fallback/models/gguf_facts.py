"""Facts of a GGUF model: whether it is a chat model, and how large."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zwaif_fallback.models.facts import GGUF, ModelFacts, Shape
from zwaif_fallback.models.gguf_header import GgufHeader, Tensor, WorkBudget, read_header
from zwaif_fallback.models.gguf_names import parts_of
from zwaif_fallback.models.gguf_types import BLOCKS, FILE_TYPES

_EMBEDDING = ("bert", "t5encoder", "gemma-embedding")
_SENSES = ("v.", "mm.", "a.")
"""Prefixes of vision and audio tensors. Ollama keeps them in the same file, which llama.cpp then refuses
(https://github.com/ggml-org/llama.cpp/issues/27349); other programs keep them in a file of their own."""
_REPACKED = (2, 10, 12, 20)
"""Q4_0, Q2_K, Q4_K and IQ4_NL: https://github.com/ggml-org/llama.cpp/blob/master/ggml/src/ggml-cpu/repack.cpp."""
_PART_WORK = 100
"""Work charged for looking whether a part exists."""
_FULL_ATTENTION_EVERY = {"gemma2": 2, "gemma3": 6}
"""Every n-th layer has full attention: https://github.com/ggml-org/llama.cpp/tree/master/src/models."""
_FORWARD_ONLY = ("ssm.state_size", "shortconv.l_cache", "wkv.head_size")
_ONLY_OLLAMA = ("mllama", "gptoss", "qwen25vl")
"""Architecture names that only Ollama's own engine knows."""


def read_gguf(path: Path, work: WorkBudget | None = None) -> ModelFacts:
    """Return the facts of one model. All parts of a split model share one budget of work.

    Raises:
        BadHeader: not a GGUF file, a damaged header, or one that would take too long to read.
        OSError: it cannot be read.
    """
    work = work or WorkBudget()
    parts = parts_of(path)
    work.spend(_PART_WORK * len(parts))
    headers = [read_header(part, work) for number, part in enumerate(parts) if number == 0 or part.is_file()]
    first = headers[0]
    facts = replace(
        _facts(first),
        parameters=sum(header.parameters for header in headers),
        weights=sum(header.full_size - header.data_start for header in headers),
        size=sum(header.file_size for header in headers),
        shape=_shape(first, headers),
    )
    return replace(facts, problem=facts.problem or _incomplete(parts, headers))


def _facts(header: GgufHeader) -> ModelFacts:
    architecture = header.text("general.architecture")
    return ModelFacts(
        GGUF,
        architecture,
        quantization=_quantization(header),
        window=header.number(f"{architecture}.context_length"),
        has_template=bool(header.text("tokenizer.chat_template")),
        problem=_problem(header, architecture),
        title=header.text("general.name"),
    )


def _problem(header: GgufHeader, architecture: str) -> str:
    kind = header.text("general.type")
    if architecture == "clip" or kind == "mmproj":
        return "is the vision part of another model (a projector), not a chat model"
    if kind not in ("", "model"):
        return f"is not a chat model ({kind})"
    if any(part in architecture for part in _EMBEDDING) or header.number(f"{architecture}.pooling_type") > 0:
        return "is an embedding model: it cannot chat"
    if architecture in _ONLY_OLLAMA or _sees(header):
        return "is in a form that only Ollama itself can run (vision and text in one file)"
    if not header.number(f"{architecture}.context_length") or "tokenizer.ggml.tokens" not in header.metadata:
        return f"is not a language model ({architecture or 'it does not say what it is'})"
    unknown = sorted({tensor.ggml_type for tensor in header.tensors} - set(BLOCKS))
    return f"has an unknown quantization (type {unknown[0]})" if unknown else ""


def _sees(header: GgufHeader) -> bool:
    return any(tensor.name.startswith(_SENSES) for tensor in header.tensors)


def _quantization(header: GgufHeader) -> str:
    named = FILE_TYPES.get(header.number("general.file_type"), "") if "general.file_type" in header.metadata else ""
    if named:
        return named
    sizes: dict[int, int] = {}
    for tensor in header.tensors:
        sizes[tensor.ggml_type] = sizes.get(tensor.ggml_type, 0) + tensor.elements
    return BLOCKS.get(max(sizes, key=lambda kind: sizes[kind]), ("",))[0] if sizes else ""


def _shape(header: GgufHeader, headers: list[GgufHeader]) -> Shape:
    architecture = header.text("general.architecture")

    def number(key: str) -> int:
        return header.number(f"{architecture}.{key}")

    layers, hidden, heads = number("block_count"), number("embedding_length"), number("attention.head_count")
    head = hidden // heads if heads else 0
    wide = number("attention.key_length") or head
    tall = number("attention.value_length") or head
    narrow = (number("attention.key_length_swa") or wide) + (number("attention.value_length_swa") or tall)
    kept = _heads_of_layers(header, architecture, layers)
    slides = _sliding_layers(header, architecture, layers)
    lasting = kept.count(0) or layers if number("ssm.state_size") else 0
    return Shape(
        layers=layers,
        cached_numbers=sum(one for one, slid in zip(kept, slides, strict=False) if not slid) * (wide + tall),
        windowed_numbers=sum(one for one, slid in zip(kept, slides, strict=False) if slid) * narrow,
        sliding_window=number("attention.sliding_window"),
        state=lasting * number("ssm.state_size") * number("ssm.inner_size") * 4,
        forward_only=any(map(number, _FORWARD_ONLY)),
        hidden=hidden,
        vocabulary=header.count("tokenizer.ggml.tokens"),
        repacked=sum(_repacked_bytes(tensor) for each in headers for tensor in each.tensors),
    )


def _repacked_bytes(tensor: Tensor) -> int:
    return tensor.size if tensor.ggml_type in _REPACKED and not tensor.name.startswith("token_embd") else 0


def _heads_of_layers(header: GgufHeader, architecture: str, layers: int) -> list[int]:
    """Return the key-value heads that each layer caches: 0 for layers that keep a state or share another's cache.

    A list has one number per layer. Layers for multi-token prediction are not loaded and not counted.
    """

    def number(key: str) -> int:
        return header.number(f"{architecture}.{key}")

    key = f"{architecture}.attention.head_count_kv"
    if isinstance(header.metadata.get(key), tuple):
        heads = header.numbers(key)
    else:
        heads = [header.number(key) or number("attention.head_count")] * layers
    heads = heads[: max(0, layers - number("nextn_predict_layers") - number("attention.shared_kv_layers"))]
    if interval := number("full_attention_interval"):
        heads = [one if place % interval == 0 else 0 for place, one in enumerate(heads, 1)]
    return heads


def _sliding_layers(header: GgufHeader, architecture: str, layers: int) -> list[bool]:
    """Return which layers have a sliding window; none unless the file says so."""
    if not header.number(f"{architecture}.attention.sliding_window"):
        return [False] * layers
    told = header.numbers(f"{architecture}.attention.sliding_window_pattern")
    if len(told) == layers > 1:
        return [bool(one) for one in told]
    period = _FULL_ATTENTION_EVERY.get(architecture, 0)
    return [bool(period) and place % period != 0 for place in range(1, layers + 1)]


def _incomplete(parts: list[Path], headers: list[GgufHeader]) -> str:
    if len(headers) < len(parts):
        return f"is not complete: {len(parts) - len(headers)} of its {len(parts)} files are missing"
    short = next((header for header in headers if not header.is_whole), None)
    if short is None:
        return ""
    return f"is not complete: {short.file_size / 1e9:.2f} GB of {short.full_size / 1e9:.2f} GB are there"
