"""Going on from a text that was cut anywhere: the last word is written again, and only what is new comes out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engines.test_detokenizer import byte_fallback_tokenizer
from zwaif_fallback import demo
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.engines.token_healing import Vocabulary, torn_end, vocabulary_of
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_hooks.messages import Sampling

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
ASK = "<|user|>\n{}</s>\n<|assistant|>\n"
TALK = (
    ("Good morning", "Good morning! I hope the first sip of your drink is perfect."),
    ("Good morning", "Morning, sunshine! Let us make this a gentle day."),
    ("Good night", "Good night, sleep well. I will be right here tomorrow."),
    ("Hello!", "Hello there! I was hoping you would come by today."),
    ("Goodbye", "See you later! Take good care of yourself."),
)
"""What the embedded model was taught: so much of it as tells whether a sentence is gone on with."""
TINY = "<|user|>\nHello there</s>\n<|assistant|>\n"
REPLY = "Hello there, how are you? 你好，世界。 😀🎉 café"


@pytest.mark.parametrize(
    ("prompt", "reply", "torn"),
    [
        ("I like deep bl", 14, " bl"),
        ("I like deep", 11, " deep"),
        ("I like deep ", 12, " "),
        ("I don't", 7, "t"),
        ("It is 10:4", 10, "4"),
        ("Well...", 7, "..."),
        ("One.\n", 5, ""),
        ("One.\n\nTw", 8, "Tw"),
        ("<|assistant|>\nHel", 3, "Hel"),
        ("[/INST] Hel", 3, " Hel"),
        ("[/INST]Hel", 3, "Hel"),
        ("我今天很", 4, "天很"),
        ("a" * 25, 25, ""),
        ("a" * 24, 24, "a" * 24),
        ("I like deep bl", 0, ""),
        ("Hi there wonderf", 2, ""),
        ("Hi there wonderf", 3, ""),
        ("Hi there wonderf", 8, " wonderf"),
        ("", 3, ""),
    ],
)
def test_what_is_taken_back(prompt: str, reply: int, torn: str) -> None:
    assert torn_end(prompt, reply) == torn


def test_tokens_that_fit() -> None:
    vocabulary = Vocabulary([(" blue", 1), (" b", 2), (" ", 3), (" bl", 4), ("bl", 5), ("", 6), (" bl\ufffd", 7)])
    assert sorted(vocabulary.fitting(" bl")) == [1, 2, 3, 4]
    assert vocabulary.fitting(" x") == [3]
    assert vocabulary.fitting("x") == []


def loaded(folder: Path) -> TransformersEngine:
    engine = TransformersEngine()
    engine.load(LoadOptions(str(folder), device="cpu", dtype="float32"))
    return engine


@pytest.fixture(scope="module")
def companion() -> TransformersEngine:
    """The embedded model, which knows what words are."""
    return loaded(demo.MODEL)


@pytest.fixture(scope="module")
def stranger(tiny_model: Callable[..., Path]) -> TransformersEngine:
    """Random weights: every token is as likely as any other."""
    return loaded(tiny_model())


def go_on(engine: TransformersEngine, prompt: str, heal: int, **more: Any) -> str:
    more.setdefault("sampling", GREEDY)
    return "".join(engine.generate(Generation(prompt, max_tokens=40, heal=heal, **more)))


def cuts(answer: str) -> Iterator[int]:
    """Inside words and behind spaces, from where it is clear which sentence it is."""
    return (at for at in range(len(answer) // 3, len(answer)) if answer[at] != " ")


@pytest.mark.slow
def test_a_sentence_is_gone_on_with_wherever_it_was_cut(companion: TransformersEngine) -> None:
    cases = [(ASK.format(asked), answer, at) for asked, answer in TALK for at in cuts(answer)][::4]
    assert len(cases) > 30
    plain = sum(go_on(companion, ask + answer[:at], 0) == answer[at:] for ask, answer, at in cases[::2])
    healed = sum(go_on(companion, ask + answer[:at], at) == answer[at:] for ask, answer, at in cases)
    assert plain < 0.7 * len(cases[::2]), "it could do without"
    assert healed > 0.97 * len(cases)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", [GREEDY, Sampling(temperature=1.2, top_k=40, top_p=0.9, min_p=0.01, seed=5)])
def test_the_characters_that_were_there_stay_as_they_are(stranger: TransformersEngine, sampling: Sampling) -> None:
    for at in range(1, len(REPLY)):
        generation = Generation(TINY + REPLY[:at], 20, sampling=sampling, heal=at)
        begun = stranger._begin(generation, GenerationStats(), threading.Event())
        assert stranger._decode(begun.tokens).startswith(stranger._decode(stranger._encode(generation.prompt)))
        whole = stranger._decode(begun.tokens)
        before = stranger._decode(stranger._encode(generation.prompt))
        assert whole == before + begun.said


@pytest.mark.slow
def test_where_no_token_fits_it_goes_on_as_it_is(stranger: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = go_on(stranger, TINY + "Hello th", 0)
    assert go_on(stranger, TINY + "Hello th", 8) != plain, "it was not healed, so this proves nothing"
    monkeypatch.setattr(stranger, "_vocabulary", Vocabulary(()))
    assert go_on(stranger, TINY + "Hello th", 8) == plain


@pytest.mark.slow
def test_a_full_window_is_not_healed(tiny_model: Callable[..., Path]) -> None:
    engine = TransformersEngine()
    prompt = TINY + "Hello there, how are y"
    size = loaded(tiny_model()).count_tokens([prompt])[0]
    engine.load(LoadOptions(str(tiny_model()), device="cpu", dtype="float32", context_window=size + 1))
    stats = GenerationStats()
    list(engine.generate(Generation(prompt, 40, sampling=GREEDY, heal=22), stats))
    assert stats.prompt_tokens + stats.generated_tokens == size + 1


@pytest.mark.slow
def test_the_cache_serves_a_healed_prompt_too(companion: TransformersEngine) -> None:
    ask, (_, answer) = ASK.format(TALK[0][0]), TALK[0]
    go_on(companion, ask, 0)
    stats = GenerationStats()
    rest = "".join(companion.generate(Generation(ask + answer[:22], 40, sampling=GREEDY, heal=22), stats))
    assert rest == answer[22:]
    kept = companion.count_tokens([ask])[0]
    assert kept <= stats.reused_tokens < stats.prompt_tokens
    assert stats.prefilled_tokens <= stats.prompt_tokens


@pytest.mark.slow
def test_a_finished_reply_may_end_behind_its_space(companion: TransformersEngine) -> None:
    stats = GenerationStats()
    prompt = ASK.format(TALK[0][0]) + TALK[0][1] + " "
    text = "".join(companion.generate(Generation(prompt, 40, sampling=GREEDY, heal=len(TALK[0][1]) + 1), stats))
    assert (text, stats.finish_reason) == ("", "stop")


@pytest.mark.slow
def test_a_stop_string_counts_from_what_is_new(companion: TransformersEngine) -> None:
    ask, (_, answer) = ASK.format(TALK[0][0]), TALK[0]
    assert go_on(companion, ask + answer[:22], 22, stop=(answer[30:34],)) == answer[22:30]
    assert go_on(companion, ask + answer[:18], 18, stop=(answer[18:19],)) == ""


@pytest.mark.slow
def test_a_cancel_while_the_word_is_written_again(stranger: TransformersEngine) -> None:
    stats = GenerationStats()
    pieces = stranger.generate(Generation(TINY + "Hello th", 40, sampling=GREEDY, heal=8), stats)
    stranger.cancel()
    assert "".join(pieces) == "" and stats.finish_reason == "cancelled"


@pytest.mark.slow
def test_a_vocabulary_that_writes_spaces_as_signs() -> None:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=byte_fallback_tokenizer(), unk_token="<unk>")
    vocabulary = vocabulary_of(tokenizer, lambda lists: [tokenizer.decode(ids) for ids in lists])

    def tokens(text: str) -> set[str]:
        return set(tokenizer.convert_ids_to_tokens(vocabulary.fitting(text)))

    assert {"▁there", "▁"} <= tokens(" t") and "t" not in tokens(" t")
    assert "lo" in tokens("l") and "▁a" not in tokens("a")
