"""A model of random weights: what reading costs depends on a model's shape, not on what it has learned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.prefix.shapes import Talk
from zwaif_fallback.prompt.length_hint import closing_line

WINDOW = 4096


@dataclass(frozen=True)
class Size:
    """Of a Llama."""

    hidden: int
    layers: int
    heads: int
    inner: int


SIZES = {"tiny": Size(32, 2, 4, 64), "110m": Size(768, 12, 12, 2048), "1b": Size(2048, 22, 32, 5632)}


def make(folder: Path, size: str) -> Path:
    """Write the model; about as many characters a token as published ones have."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = SIZES[size]
    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer) if size == "tiny" else 32_000,
        hidden_size=shape.hidden,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=4,
        max_position_embeddings=WINDOW,
        bos_token_id=1,
        eos_token_id=2,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
    return folder


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers  # type: ignore[import-untyped]
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    talk = Talk().grown_to(30)
    texts = [talk.persona.character_card, talk.summary(), talk.lore(), talk.time()]
    texts += [text for pair in talk.log for text in pair]
    # Published tokenizers know these words, too.
    texts += [closing_line(["What is it?"], words) for words in (5, 12, 20, 40, 90)] * 3
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator(texts * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=WINDOW,
        clean_up_tokenization_spaces=False,
    )
