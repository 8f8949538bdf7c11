"""Refuse hostile model files before transformers reads them. A model may come from anywhere, and some values keep a
library busy for ever, or use code paths that are not needed here and known to be weak. GGUF files are checked while
their header is read (:mod:`zwaif_fallback.models.gguf_header`); chat templates run in a process of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zwaif_fallback.engines.file_repairs import is_new_class
from zwaif_fallback.errors import ModelError
from zwaif_fallback.models.model_files import TOKENIZER
from zwaif_fallback.models.safetensors_facts import WEIGHT_FILES
from zwaif_fallback.models.safetensors_header import BadSafetensors, StoredTensor, read_tensors
from zwaif_hooks.storage.bounded import read_json

MOST_JSON = 64 * 1024 * 1024
"""Bytes of ``tokenizer.json``; the largest vocabularies in use take 35 MB."""
MOST_POSITIONS = 1 << 24
"""Tokens; the longest window of any known model is ten million."""
MOST_SQUARED = 1 << 15
"""Largest window of older models, which allocate a table of its square while they are built."""
_SQUARED = ("gpt2", "gptj", "gpt_neo", "codegen", "imagegpt", "decision_transformer", "gpt_bigcode")
_POSITIONS = re.compile(r"max_position_embeddings|n_positions|n_ctx|max_seq_len|seq_length|max_sequence_length")
_COUNTS = re.compile(r"num_\w+|n_(?:layers?|heads?|embd|inner|head_kv)|\w+_layers?|depth|vocab_size|head_dim|d_model"
                     r"|ffn_dim|d_ff|(?:hidden|intermediate|embedding|inner|state|model)_(?:size|dim)")  # fmt: skip
"""Fields for the number or size of something that is in the weights."""
_WIDTHS = ("hidden_size", "n_embd", "d_model")
_FEW = 256
"""Values up to this are harmless, whatever the weights are."""
_SLACK = 16
"""How much larger than the largest dimension of any tensor a field may be: weights may be packed, or split by heads."""
_VERSIONED = re.compile(r"(?:config|tokenizer)\.\d[\d.]{0,15}\.json")
"""File for certain versions of the library. The pattern with which transformers searches them can be made to run for
hours (CVE-2025-3263)."""
_SLOW_TOKENIZERS = ("GPTSw3Tokenizer",)
"""Tokenizers that exist only in Python and are used by chat models."""


def check_files(folder: Path) -> None:
    """Refuse a model whose files would keep transformers busy for ever.

    Raises:
        ModelError: names the file and what is wrong with it.
        BadSafetensors: the weights are damaged.
    """
    name = ""
    try:
        for name in ("generation_config.json", "special_tokens_map.json", "added_tokens.json"):
            _object(folder, name)
        has_json = (folder / TOKENIZER).exists()
        name = "config.json"
        config = _object(folder, name)
        _check_config(config, _tensors(folder))
        _check_tokenizer(config, config, has_json)
        name = "tokenizer_config.json"
        _check_tokenizer(_object(folder, name), config, has_json)
        name = TOKENIZER
        if (folder / name).exists() and (folder / name).stat().st_size > MOST_JSON:
            raise ValueError("it is far too long")
    except BadSafetensors:
        raise
    except ValueError as error:
        raise ModelError(
            f"{folder} is not loaded: its {name} has impossible values ({error}). Download it again, or choose another."
        ) from error


def _object(folder: Path, name: str) -> dict[str, Any]:
    found = read_json(folder / name) if (folder / name).exists() else {}
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    return found


def _tensors(folder: Path) -> list[StoredTensor]:
    return [tensor for file in sorted(folder.glob(WEIGHT_FILES)) for tensor in read_tensors(file)]


def _check_config(config: Mapping[str, Any], tensors: list[StoredTensor]) -> None:
    _check_versions(config, "configuration_files")
    sides = {side for tensor in tensors for side in tensor.shape}
    largest = max(sides, default=0)
    squared = config.get("model_type") in _SQUARED
    for part in (config, config.get("text_config")):
        width = next((part[key] for key in _WIDTHS if key in part), None) if isinstance(part, dict) else None
        if isinstance(width, (int, float)) and width not in sides:
            raise ValueError(f"its layers are {width:.0f} wide, and no side of its weights is")
    for key, value in _numbers(config):
        if _POSITIONS.fullmatch(key) and value > (MOST_SQUARED if squared else MOST_POSITIONS):
            raise ValueError(f"{key} is {value:.0f}")
        if re.search("layers?$|depth$", key) and value > max(len(tensors), _FEW):
            raise ValueError(f"{key} is {value:.0f}, and its weights are {len(tensors)} tensors")
        if _COUNTS.fullmatch(key) and value > max(largest * _SLACK, len(tensors), _FEW):
            raise ValueError(f"{key} is {value:.0f}, and no side of its weights is longer than {largest}")


def _check_tokenizer(tokenizer: Mapping[str, Any], config: Mapping[str, Any], has_json: bool) -> None:
    """Refuse tokenizers that exist only in Python. Some texts stall their regular expressions (CVE-2025-1194,
    CVE-2025-6638 and others), and one reads a pickle (Transformer-XL); no chat model needs them. A newer class is
    replaced if there is a ``tokenizer.json``."""
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    _check_versions(tokenizer, "fast_tokenizer_files")
    fast = {pair[1] for pair in TOKENIZER_MAPPING_NAMES.values()} | {"PreTrainedTokenizerFast"}
    slow, quick = TOKENIZER_MAPPING_NAMES.get(str(config.get("model_type")), (None, "PreTrainedTokenizerFast"))
    name = tokenizer.get("tokenizer_class") or quick or slow
    if has_json and is_new_class(name):
        return
    if not isinstance(name, str) or (name not in _SLOW_TOKENIZERS and f"{name.removesuffix('Fast')}Fast" not in fast):
        raise ValueError(f"a tokenizer of the kind {str(name)[:60]!r}")


def _check_versions(config: Mapping[str, Any], key: str) -> None:
    names = config.get(key, [])
    if not isinstance(names, list) or not all(isinstance(one, str) and _VERSIONED.fullmatch(one) for one in names):
        raise ValueError(f"{key} names what is no file of a version")


def _numbers(value: Any, key: str = "") -> Iterator[tuple[str, float]]:
    """Yield every number with the name of its field, also in nested parts for text, vision and so on."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, str(name))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, key)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield key, value
