"""A tiny real captioning model (BLIP), trained on the spot until it tells a red square from a blue one."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from zwaif_hooks.messages import Picture

WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "red", "blue", "square", "on", "white"]
SIDE = 16
STEPS = 150
SHAPE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION = {**SHAPE, "image_size": SIDE, "patch_size": 8}


def square(color: str, kind: str = "PNG", side: int = 64) -> bytes:
    """A picture's file: a coloured square on a white ground."""
    from PIL import Image

    picture = Image.new("RGB", (side, side), "white")
    picture.paste(color, (side // 8, side // 8, side - side // 8, side - side // 8))
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def in_base64(data: bytes) -> Picture:
    return Picture(base64=base64.b64encode(data).decode())


def make_captioner(folder: Path) -> Path:
    """Saved as Hugging Face has them: config, safetensors, tokenizer, image processor."""
    import torch

    torch.manual_seed(0)
    tokenizer, processor, model = _tokenizer(), _processor(), _model()
    pictures = [_opened(square(color)) for color in ("red", "blue")]
    pixels = processor(images=pictures, return_tensors="pt")["pixel_values"]
    captions = tokenizer(["a red square on white", "a blue square on white"], return_tensors="pt").input_ids
    _train(model, pixels, captions)
    model.save_pretrained(folder, safe_serialization=True)
    processor.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def make_untrained(folder: Path, kind: str) -> Path:
    """A model of another kind, with random weights."""
    import torch
    from transformers import CLIPImageProcessor

    torch.manual_seed(3)
    model = _git() if kind == "git" else _encoder_decoder()
    model.save_pretrained(folder, safe_serialization=True)
    CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size={"height": SIDE, "width": SIDE}).save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return folder


def _git() -> Any:
    from transformers import GitConfig, GitForCausalLM

    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    return GitForCausalLM(
        GitConfig(vision_config=VISION, **SHAPE, **ids, vocab_size=len(WORDS), max_position_embeddings=64)
    )


def _encoder_decoder() -> Any:
    from transformers import (
        GenerationConfig,
        GPT2Config,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
    )

    decoder = GPT2Config(
        vocab_size=len(WORDS), n_embd=32, n_layer=1, n_head=2, n_positions=64, bos_token_id=1, eos_token_id=2
    )
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(ViTConfig(**VISION), decoder)
    model = VisionEncoderDecoderModel(config)
    model.generation_config = GenerationConfig(decoder_start_token_id=1, pad_token_id=0, eos_token_id=2)
    return model


def _opened(data: bytes) -> Any:
    from PIL import Image

    return Image.open(io.BytesIO(data))


def _train(model: Any, pixels: Any, captions: Any) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    model.train()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = model(pixel_values=pixels, input_ids=captions, labels=captions).loss
        loss.backward()
        optimizer.step()


def _tokenizer() -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, "[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", unk_token="[UNK]"
    )


def _processor() -> Any:
    from transformers import BlipImageProcessor

    return BlipImageProcessor(size={"height": SIDE, "width": SIDE})


def _model() -> Any:
    from transformers import BlipConfig, BlipForConditionalGeneration

    text = {
        **SHAPE,
        "encoder_hidden_size": 32,
        "vocab_size": len(WORDS),
        "max_position_embeddings": 32,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "sep_token_id": 2,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    return BlipForConditionalGeneration(BlipConfig(text_config=text, vision_config=VISION, label_smoothing=0.0))
