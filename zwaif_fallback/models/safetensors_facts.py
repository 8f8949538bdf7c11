"""Facts of a model folder in transformers' form: whether it is a chat model, and how large."""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from zwaif_fallback.models.facts import SAFETENSORS, ModelFacts, Shape
from zwaif_fallback.models.safetensors_header import MOST_TENSORS, BadSafetensors, StoredTensor, read_tensors
from zwaif_hooks.storage import bounded

WEIGHT_FILES = "model*.safetensors"
"""The files transformers reads. Some models add ``consolidated*``, the same weights in another layout."""
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_DTYPES = {"F32": "fp32", "F16": "fp16", "BF16": "bf16", "F8_E4M3": "fp8", "F8_E5M2": "fp8"}
_NO_LIMIT = 1_000_000_000
"""Tokenizers without a limit state an absurdly large one."""
_MOST_NUMBER = 10**12
MOST_FILES = 2000
"""In one folder; a model split into 163 parts has 180."""
_KIND = re.compile(r"\w[\w.-]{0,80}", re.ASCII)
_NOT_SHRUNK = ("embed", "lm_head", "wte", "wpe")


def is_model_folder(names: set[str]) -> bool:
    """Return whether a folder with these file names is a model in transformers' form."""
    return "config.json" in names or "adapter_config.json" in names


def read_folder(folder: Path) -> ModelFacts:
    """Return the facts of a folder with ``config.json``.

    Raises:
        ValueError: a file in it is damaged; the text is one line.
        OSError: a file cannot be read.
    """
    sizes = _files(folder)
    names = sorted(sizes)
    config = read_json(folder / "config.json") if "config.json" in sizes else {}
    if not config:
        problem = "is an adapter (LoRA), which needs its base model" if "adapter_config.json" in sizes else ""
        return ModelFacts(SAFETENSORS, problem=problem or "has an empty config.json")
    text = _text_config(config)
    tokenizer = read_json(folder / "tokenizer_config.json") if "tokenizer_config.json" in sizes else {}
    tensors, problem = _weights(folder, names)
    return ModelFacts(
        SAFETENSORS,
        architecture=_text(config.get("model_type")),
        parameters=sum(tensor.elements for tensor in tensors),
        quantization=_quantization(config, tensors),
        window=_window(text, tokenizer),
        weights=sum(tensor.size for tensor in tensors),
        size=sum(sizes.values()),
        has_template=_has_template(tokenizer, names),
        problem=_problem(config, names) or problem or tokenizer_problem(names),
        shape=_shape(text, tensors),
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ValueError: it is too long, damaged, or not an object.
        OSError: it cannot be read.
    """
    found = bounded.read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} is damaged")
    return found


def _files(folder: Path) -> dict[str, int]:
    """Return name and size of everything in the folder."""
    sizes: dict[str, int] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            sizes[entry.name] = entry.stat().st_size if entry.is_file() else 0
            if len(sizes) > MOST_FILES:
                raise ValueError(f"it holds more than {MOST_FILES} files")
    return sizes


def _weights(folder: Path, names: list[str]) -> tuple[list[StoredTensor], str]:
    files = sorted(folder.glob(WEIGHT_FILES))
    if "model.safetensors" in names:
        files = [folder / "model.safetensors"]
    elif INDEX in names:
        wanted = shards_in_index(folder)
        missing = sorted(wanted - set(names))
        if missing:
            return [], f"is not complete: {missing[0]} is missing ({len(missing)} in all)"
        files = [folder / name for name in sorted(wanted)]
    if not files:
        return [], _no_weights(names)
    tensors: list[StoredTensor] = []
    try:
        for file in files:
            tensors += read_tensors(file)
            if len(tensors) > MOST_TENSORS:
                return [], f"cannot be used: it has more than {MOST_TENSORS:,} tensors"
    except BadSafetensors as error:
        return [], f"cannot be used: {error}"
    return tensors, ""


def shards_in_index(folder: Path) -> set[str]:
    """Return the names of the weight files that the index of a sharded model lists.

    Raises:
        ValueError: the index is damaged.
        OSError: there is none, or it cannot be read.
    """
    shards = read_json(folder / INDEX).get("weight_map")
    if not isinstance(shards, dict) or not all(isinstance(name, str) for name in shards.values()):
        raise ValueError(f"{INDEX} is damaged")
    return set(shards.values())


def _no_weights(names: list[str]) -> str:
    pickles = [name for name in names if name.lower().endswith(PICKLES)]
    if pickles:
        return f"has only pickled weights ({pickles[0]}), which can run any code and are never loaded"
    return "has no weights (*.safetensors)"


def tokenizer_problem(names: Collection[str]) -> str:
    """Return what is wrong with the tokenizer of a folder with these file names; empty if nothing is."""
    if "tokenizer.json" in names or any(name.startswith("vocab.") for name in names):
        return ""
    if not any(name.endswith(".model") for name in names):
        return "has no tokenizer (tokenizer.json)"
    return "" if _has_protobuf() else "has only a tokenizer.model, for which one more package is needed (protobuf)"


def _has_protobuf() -> bool:
    with contextlib.suppress(ModuleNotFoundError):  # if "google" itself is missing
        return importlib.util.find_spec("google.protobuf") is not None
    return False


def _problem(config: Mapping[str, Any], names: list[str]) -> str:
    quantized = config.get("quantization_config")
    method = _text(quantized.get("quant_method")) if isinstance(quantized, dict) else ""
    if "modules.json" in names or "config_sentence_transformers.json" in names:
        return "is an embedding model: it cannot chat"
    if "quantization" in config and not method:
        return "is in MLX format, which only Apple's library runs"
    if method and method not in ("bitsandbytes",):
        needs = "a newer NVIDIA card" if method == "fp8" else "a library that is not used here"
        return f"is quantized as {method}, which needs {needs}; choose it as a GGUF file"
    return _not_for_chat(config) or _too_new(config)


def _not_for_chat(config: Mapping[str, Any]) -> str:
    listed = config.get("architectures")
    architectures = [_text(name) for name in listed] if isinstance(listed, list) else []
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in architectures):
        return ""
    if "vision_config" in config or any("Vision" in name or "ImageText" in name for name in architectures):
        return "is a vision model, whose text part is not loaded by itself"
    if any(name.endswith("ForConditionalGeneration") for name in architectures):
        return "translates or transcribes: it cannot chat"
    return f"is not a chat model ({architectures[0] if architectures else 'its config.json does not say'})"


def _too_new(config: Mapping[str, Any]) -> str:
    kind = _text(config.get("model_type"))
    if not kind or (_KIND.fullmatch(kind) and is_known(kind)):
        return ""
    if "auto_map" in config:
        return f"needs its own program code ({kind}), which is never run"
    return f"is of a kind ({kind}) that the installed transformers does not support; a GGUF file of it may work"


def is_known(kind: str) -> bool:
    """Return whether the installed transformers has this model type, from its files: importing it takes seconds."""
    found = importlib.util.find_spec("transformers")
    places = list(found.submodule_search_locations or ()) if found else []
    return not places or any((Path(place) / "models" / kind.replace("-", "_")).is_dir() for place in places)


def _quantization(config: Mapping[str, Any], tensors: list[StoredTensor]) -> str:
    quantized = config.get("quantization_config")
    if isinstance(quantized, dict) and (method := _text(quantized.get("quant_method"))):
        bits = "4-bit" if quantized.get("load_in_4bit") or quantized.get("bits") == 4 else ""
        return f"{method} {bits}".strip()
    sizes: Counter[str] = Counter()
    for tensor in tensors:
        sizes[tensor.dtype] += tensor.elements
    most = sizes.most_common(1)
    return _DTYPES.get(most[0][0], most[0][0].lower()) if most else ""


def _window(text: Mapping[str, Any], tokenizer: Mapping[str, Any]) -> int:
    limits = [_count(text.get(key)) for key in ("max_position_embeddings", "n_positions", "max_seq_len")]
    limits.append(_count(tokenizer.get("model_max_length")))
    return min((one for one in limits if 0 < one < _NO_LIMIT), default=0)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int:
    """Return a count from a file; 0 if it is not a number or impossibly large."""
    is_number = isinstance(value, (int, float)) and math.isfinite(value) and 0 < value < _MOST_NUMBER
    return int(value) if is_number else 0


def _has_template(tokenizer: Mapping[str, Any], names: list[str]) -> bool:
    return bool({"chat_template.jinja", "chat_template.json"} & set(names) or tokenizer.get("chat_template"))


def is_shrunk(tensor: StoredTensor) -> bool:
    """Return whether 4-bit loading shrinks this tensor: a matrix that is neither an embedding nor the output head."""
    return len(tensor.shape) == 2 and not any(part in tensor.name for part in _NOT_SHRUNK)


def _text_config(config: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = config.get("text_config")
    return inner if isinstance(inner, dict) else config


def _shape(text: Mapping[str, Any], tensors: list[StoredTensor]) -> Shape:
    def number(*keys: str) -> int:
        return next((value for key in keys if (value := _count(text.get(key)))), 0)

    layers, heads = number("num_hidden_layers", "n_layer"), number("num_attention_heads", "n_head")
    hidden = number("hidden_size", "n_embd")
    head = number("head_dim") or (hidden // heads if heads else 0)
    return Shape(
        layers=layers,
        cached_numbers=2 * layers * (number("num_key_value_heads") or heads) * head,
        hidden=hidden,
        vocabulary=number("vocab_size"),
        quantizable=sum(one.elements for one in tensors if is_shrunk(one)),
    )
