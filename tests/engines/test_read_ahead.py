"""Reading ahead with the real engine in a real worker: a reply then has only the rest to read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.local.model import LocalModel
from zwaif_hooks.messages import Sampling

BEGUN = "<|user|>\nTell me a story.</s>\n<|assistant|>\nOnce upon a time there was a small model.</s>\n<|user|>\n"
PROMPT = BEGUN + "How are you today?</s>\n<|assistant|>\n"
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def model(tiny_model: Callable[..., Path]) -> Iterator[LocalModel]:
    local = LocalModel()
    local.load(LoadOptions(str(tiny_model()), device="cpu"))
    yield local
    local.close()


def test_a_reply_reads_only_what_was_not_read_ahead(model: LocalModel) -> None:
    ahead, stats = model.read_ahead(BEGUN), GenerationStats()
    whole = "".join(model.generate(Generation(PROMPT, 12, sampling=GREEDY), stats))
    assert (ahead.generated_tokens, ahead.prefilled_tokens) == (0, ahead.prompt_tokens)
    assert ahead.prompt_tokens - 2 <= stats.reused_tokens <= ahead.prompt_tokens < stats.prompt_tokens
    assert whole == "".join(model.generate(Generation(PROMPT, 12, sampling=GREEDY))), "and says the same"


def test_reading_ahead_gives_way_to_whoever_speaks(model: LocalModel) -> None:
    pieces = model.generate(Generation(PROMPT, 50, sampling=GREEDY))
    next(pieces)
    assert model.read_ahead(BEGUN) == GenerationStats(), "nothing was read"
    pieces.close()  # type: ignore[attr-defined]


def test_a_prompt_that_cannot_be_read_is_no_error(model: LocalModel) -> None:
    assert model.read_ahead("word " * 2000).finish_reason == ""
    assert "".join(model.generate(Generation(PROMPT, 3, sampling=GREEDY)))


def test_without_a_model_nothing_is_loaded_to_read_ahead() -> None:
    assert LocalModel().read_ahead(PROMPT) == GenerationStats()


def test_two_conversations_in_turn_each_find_what_they_have_read(model: LocalModel) -> None:
    card = "<|system|>\n" + "The quick brown fox jumps over the lazy dog. " * 3
    begun = {
        name: card + f"</s>\n<|user|>\n{name} " + "tell me a story about rain. " * 6 for name in ("Mic", "Discord")
    }
    for prompt in begun.values():
        model.read_ahead(prompt)
    whole = {}
    for name, prompt in begun.items():
        stats = GenerationStats()
        whole[name] = "".join(model.generate(Generation(prompt + "now?", 8, sampling=GREEDY), stats))
        assert stats.reused_tokens > 0.9 * stats.prompt_tokens, name
    for name, prompt in begun.items():
        for other in ("Rain", "Once"):
            model.read_ahead(other)
        assert "".join(model.generate(Generation(prompt + "now?", 8, sampling=GREEDY))) == whole[name], "read anew"
