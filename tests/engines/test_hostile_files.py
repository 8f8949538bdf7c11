"""What would keep transformers busy for ever is refused before transformers reads it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback import demo
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines.hostile_files import check_files
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_fallback.errors import ModelError

BACKTRACKING = ["config." * 20000 + "x"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo.MODEL, tmp_path / "evil"))


def change(folder: Path, name: str, **fields: Any) -> None:
    file = folder / name
    found = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps({**found, **fields}), encoding="utf-8")


def test_the_embedded_model_is_fine(folder: Path) -> None:
    check_files(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral", "phi"])
def test_models_of_each_kind_are_fine(tiny_model: Callable[..., Path], kind: str) -> None:
    check_files(tiny_model(kind))


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("config.json", {"configuration_files": BACKTRACKING}),
        ("config.json", {"configuration_files": "config.json"}),
        ("config.json", {"configuration_files": ["config.4.0.json", 7]}),
        ("config.json", {"num_hidden_layers": 100_000}),
        ("config.json", {"num_hidden_layers": 1e11}),
        ("config.json", {"n_layer": 10**9}),
        ("config.json", {"text_config": {"num_hidden_layers": 100_000}}),
        ("config.json", {"hidden_size": 10**6}),
        ("config.json", {"hidden_size": 12_345}),
        ("config.json", {"intermediate_size": 10**12}),
        ("config.json", {"vocab_size": 10**12}),
        ("config.json", {"num_attention_heads": 10**9}),
        ("config.json", {"head_dim": 10**9}),
        ("config.json", {"num_labels": 10**10}),
        ("config.json", {"max_position_embeddings": 10**10}),
        ("config.json", {"model_type": "gpt2", "n_positions": 10**6}),
        ("config.json", {"tokenizer_class": "MarianTokenizer"}),
        ("config.json", {"model_type": "marian"}),
        ("tokenizer_config.json", {"fast_tokenizer_files": ["tokenizer." * 20000 + "x"]}),
        ("tokenizer_config.json", {"tokenizer_class": "GPTNeoXJapaneseTokenizer"}),
        ("tokenizer_config.json", {"tokenizer_class": "MarianTokenizer"}),
        ("tokenizer_config.json", {"tokenizer_class": "TransfoXLTokenizer"}),
        ("tokenizer_config.json", {"tokenizer_class": "RagTokenizer"}),
        ("tokenizer_config.json", {"tokenizer_class": ["x"]}),
        ("tokenizer_config.json", {"many": list(range(200_000))}),
        ("generation_config.json", {"many": list(range(200_000))}),
    ],
)
def test_what_cannot_be_is_refused_at_once(folder: Path, name: str, fields: dict[str, Any]) -> None:
    change(folder, name, **fields)
    if name == "config.json" and "model_type" in fields:  # the kind's own tokenizer
        change(folder, "tokenizer_config.json", tokenizer_class=None)
    began = time.thread_time()
    with pytest.raises(ModelError, match=r"has impossible values \(.*Download it again"):
        TransformersEngine().load(LoadOptions(str(folder), device="cpu"))
    assert time.thread_time() - began < 5


@pytest.mark.parametrize(
    "name",
    ["LlamaTokenizer", "LlamaTokenizerFast", "Qwen2Tokenizer", "GPT2Tokenizer", "GPTNeoXTokenizer", "GemmaTokenizer",
     "CodeGenTokenizer", "CohereTokenizerFast", "GPTSw3Tokenizer"],
)  # fmt: skip
def test_tokenizers_of_real_models_are_taken(folder: Path, name: str) -> None:
    change(folder, "tokenizer_config.json", tokenizer_class=name)
    check_files(folder)


def test_a_file_for_some_versions_of_the_library_is_taken(folder: Path) -> None:
    change(folder, "config.json", configuration_files=["config.4.0.0.json"])
    check_files(folder)
