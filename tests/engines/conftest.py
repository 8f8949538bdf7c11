"""Tiny real models, made on the spot: random weights, but a real tokenizer, real files and the real classes."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.gguf_models import convert_companion, make_parrot

CORPUS = [
    "Hello there, how are you today? I am fine, thank you very much.",
    "The quick brown fox jumps over the lazy dog while the rain falls.",
    "Was für ein schöner Tag! Привет, мир. 你好，世界。 😀🎉👩‍🚀 café",
    "<|user|>\nTell me a story.</s>\n<|assistant|>\nOnce upon a time there was a small model.</s>\n",
] * 20
SPECIAL = ["<unk>", "<s>", "</s>"]
TEMPLATE = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}</s>\n{% endfor %}<|assistant|>\n"
WINDOW = 512
SLIDING = {"gemma2": "Gemma2Config", "gemma3": "Gemma3TextConfig", "cohere2": "Cohere2Config"}
"""Models that expect a cache of fixed length, half of whose layers see 16 tokens."""


def make_tokenizer() -> Any:
    """A byte-level BPE tokenizer: most emoji and CJK characters take several tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(CORPUS, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        chat_template=TEMPLATE,
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=False,
    )


def make_config(kind: str, vocabulary: int) -> Any:
    import transformers
    from transformers import GemmaConfig, GPT2Config, LlamaConfig, MistralConfig, PhiConfig, Qwen2Config

    if kind == "mamba":
        return transformers.MambaConfig(
            vocab_size=vocabulary, hidden_size=32, num_hidden_layers=2, bos_token_id=1, eos_token_id=2
        )
    if kind == "gpt2":
        return GPT2Config(
            vocab_size=vocabulary, n_embd=32, n_layer=2, n_head=4, n_positions=WINDOW, bos_token_id=1, eos_token_id=2
        )
    if kind in SLIDING and not hasattr(transformers, SLIDING[kind]):
        pytest.skip(f"this version of transformers has no {SLIDING[kind]}")
    config = {
        "llama": LlamaConfig,
        "mistral": MistralConfig,
        "phi": PhiConfig,
        "qwen2": Qwen2Config,
        "gemma": GemmaConfig,
        **{kind: getattr(transformers, name) for kind, name in SLIDING.items() if hasattr(transformers, name)},
    }[kind]
    return config(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=4 if kind in SLIDING else 2,
        num_attention_heads=4,
        num_key_value_heads=4 if kind == "phi" else 2,
        max_position_embeddings=WINDOW,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.3,
        **({"head_dim": 16} if kind.startswith("gemma") else {}),
        **({"sliding_window": 16, "sliding_window_pattern": 2, "query_pre_attn_scalar": 16} if kind in SLIDING else {}),
    )


def make_model(folder: Path, kind: str = "llama", seed: int = 0) -> Path:
    """A model of a few thousand random weights that never picks the end token by itself."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    model = AutoModelForCausalLM.from_config(make_config(kind, len(tokenizer)))
    if kind not in ("gpt2", "mamba"):
        with torch.no_grad():
            model.lm_head.weight[:3] = 0
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``tiny_model("phi")`` is the folder of a tiny model of that kind, made once."""
    made: dict[tuple[str, int], Path] = {}

    def get(kind: str = "llama", seed: int = 0) -> Path:
        if (kind, seed) not in made:
            made[kind, seed] = make_model(tmp_path_factory.mktemp(f"tiny-{kind}"), kind, seed)
        return made[kind, seed]

    return get


@pytest.fixture(scope="session")
def companion_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded model as one GGUF file."""
    pytest.importorskip("gguf")
    return convert_companion(tmp_path_factory.mktemp("gguf") / "companion.F16.gguf")


@pytest.fixture(scope="session")
def parrot_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another kind of tokenizer, and a sentence that is known beforehand."""
    pytest.importorskip("gguf")
    return make_parrot(tmp_path_factory.mktemp("gguf") / "parrot.gguf")


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where temporary files go, in workers too. It is short, as the path of a socket must be."""
    place = None if sys.platform == "win32" else "/tmp"
    with tempfile.TemporaryDirectory(prefix="zwaif-", dir=place, ignore_cleanup_errors=True) as folder:
        for name in ("TMPDIR", "TEMP", "TMP"):
            monkeypatch.setenv(name, folder)
        monkeypatch.setattr(tempfile, "tempdir", folder)
        yield Path(folder)
