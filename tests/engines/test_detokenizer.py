"""Text made token by token equals the text decoded at once, and no character is ever torn."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zwaif_fallback.engines.detokenizer import Detokenizer

pytestmark = pytest.mark.slow

TEXTS = ["Hello there, how are you?", "😀🎉👩‍🚀 café", "你好，世界。Привет, мир.", "a😀b  c\n\nd é 🎉🎉🎉 e"]
SENTENCEPIECE_WORDS = ["▁Hello", "▁there", "▁a", "lo", "▁", "b"]


def byte_fallback_tokenizer() -> Any:
    """As Llama's and Mistral's: spaces are ▁, unknown characters are spelt in single bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers

    tokens = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), *SENTENCEPIECE_WORDS, *"▁Helotraywu,?."]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


@pytest.fixture(scope="module", params=["byte level", "byte fallback"])
def codec(request: pytest.FixtureRequest, tiny_model: Any) -> Any:
    if request.param == "byte fallback":
        return byte_fallback_tokenizer()
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model()).backend_tokenizer


def check(codec: Any, prompt: str, reply: str) -> None:
    def decode(tokens: list[int]) -> str:
        return str(codec.decode(tokens))

    tokens = codec.encode(prompt + reply, add_special_tokens=False).ids
    start = len(codec.encode(prompt, add_special_tokens=False).ids) if prompt else 0
    text = Detokenizer(decode, tokens[:start])
    pieces = [text.push(token) for token in tokens[start:]]
    pieces.append(text.flush())
    before = decode(tokens[:start])
    assert "".join(pieces) == decode(tokens)[len(before) :]
    assert not any("\ufffd" in piece for piece in pieces)


@pytest.mark.parametrize("reply", TEXTS)
@pytest.mark.parametrize("prompt", ["", "Hello.", "😀 Hello 你好"])
def test_pieces_are_whole_characters(codec: Any, prompt: str, reply: str) -> None:
    check(codec, prompt, " " + reply if prompt else reply)


@settings(max_examples=150, deadline=None)
@given(reply=st.text(alphabet="Helo 😀é你\n", min_size=1, max_size=25))
def test_any_mixture(codec: Any, reply: str) -> None:
    check(codec, "Hello.", " " + reply)


def test_a_character_cut_off_at_the_end_is_left_out(codec: Any) -> None:
    tokens = codec.encode("Hello 😀", add_special_tokens=False).ids
    text = Detokenizer(lambda ids: str(codec.decode(ids)))
    assert ("".join(map(text.push, tokens[:-1])) + text.flush()).rstrip() == "Hello"
