"""The transformers engine on tiny real models: same text as ``model.generate``, and everything that adds to it."""

from __future__ import annotations

import functools
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engines.conftest import SLIDING
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.engines.sampling import Sampler, _warpers, decide
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_fallback.errors import EngineError
from zwaif_hooks.messages import Sampling

pytestmark = pytest.mark.slow

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
PROMPT = "<|user|>\nHello there, how are you?</s>\n<|assistant|>\n"
TinyModel = Callable[..., Path]


def loaded(folder: Path, **options: Any) -> TransformersEngine:
    engine = TransformersEngine()
    engine.load(LoadOptions(model=str(folder), device="cpu", dtype="float32", **options))
    return engine


@pytest.fixture(scope="module")
def engine(tiny_model: TinyModel) -> TransformersEngine:
    return loaded(tiny_model())


def say(engine: TransformersEngine, prompt: str = PROMPT, max_tokens: int = 40, **more: Any) -> str:
    more.setdefault("sampling", GREEDY)
    return "".join(engine.generate(Generation(prompt, max_tokens=max_tokens, **more)))


def reference(folder: Path, prompt: str = PROMPT, max_tokens: int = 40, **more: Any) -> str:
    """What transformers' own generate writes."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = tokenizer(prompt, add_special_tokens=False, return_tensors="pt").input_ids
    more.setdefault("do_sample", False)
    out = model.generate(ids, max_new_tokens=max_tokens, pad_token_id=0, **more)[0, ids.shape[1] :]
    return str(tokenizer.decode(out, skip_special_tokens=True)).rstrip("\ufffd")


@pytest.mark.parametrize("kind", ["llama", "mistral", "phi", "gpt2", "mamba", *SLIDING])
def test_greedy_text_equals_generate(tiny_model: TinyModel, kind: str) -> None:
    folder = tiny_model(kind)
    assert say(loaded(folder)) == reference(folder)


def tokens_read(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list to which each call of the model adds its number of tokens."""
    read: list[int] = []
    forward = engine._model.forward

    @functools.wraps(forward)
    def counted(*args: Any, **kwargs: Any) -> Any:
        read.append(kwargs["input_ids"].shape[1])
        return forward(*args, **kwargs)

    monkeypatch.setattr(engine._model, "forward", counted)
    return read


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mamba", *SLIDING])
def test_a_prompt_is_read_once_a_reply(tiny_model: TinyModel, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = loaded(tiny_model(kind))
    read = tokens_read(engine, monkeypatch)
    prompt = "The quick brown fox jumps over the lazy dog. " * 24
    for start in ("", "Hello. "):
        read.clear()
        say(engine, start + prompt, max_tokens=9)
        assert sum(read[:-8]) == engine.count_tokens([start + prompt])[0]
        assert read[-8:] == [1] * 8


@pytest.mark.parametrize("kind", list(SLIDING))
def test_a_sliding_window_hides_the_same_tokens_however_a_text_is_read(tiny_model: TinyModel, kind: str) -> None:
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(tiny_model(kind)).eval()
    ids = torch.randint(3, 400, (1, 300), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = plain(input_ids=ids, use_cache=False).logits[0]
    reader = loaded(tiny_model(kind))._loaded_reader()
    tokens = ids[0].tolist()
    # Below, at and beyond the window of 16; across the part of 128; one by one; and back to an earlier text.
    for length in (5, 15, 16, 17, 18, 40, 41, 42, 200, 300, 30, 31, 180):
        scores = reader.read(tokens[:length], GenerationStats(), threading.Event())
        assert torch.allclose(scores[0], wanted[length - 1], atol=1e-3), length


@pytest.mark.parametrize("kind", ["gpt2", "mamba"])
def test_a_model_with_a_cache_of_its_own_talks_in_two_chats(tiny_model: TinyModel, kind: str) -> None:
    engine = loaded(tiny_model(kind))
    first = say(engine)
    other = say(engine, "Hello world, " + PROMPT)
    interrupted = engine.generate(Generation(PROMPT, max_tokens=9, sampling=GREEDY))
    next(interrupted)
    engine.cancel()
    list(interrupted)
    assert (say(engine), say(engine)) == (first, first)
    assert say(engine, "Hello world, " + PROMPT) == other
    assert say(engine, PROMPT + first[:3], 20, heal=3) == say(loaded(tiny_model(kind)), PROMPT + first[:3], 20, heal=3)


def test_repetition_penalty_equals_generate(engine: TransformersEngine, tiny_model: TinyModel) -> None:
    text = say(engine, sampling=Sampling(temperature=0, repetition_penalty=1.3))
    assert text == reference(tiny_model(), repetition_penalty=1.3)
    assert text != say(engine)


def test_the_temperature_comes_last_as_in_llama_cpp() -> None:
    choice = decide(Sampling(temperature=0.3, top_p=0.9, top_k=40, min_p=0.1))
    names = [type(warp).__name__.removesuffix("LogitsWarper") for warp in _warpers(choice)]
    assert names == ["TopK", "TopP", "MinP", "Temperature"]


def test_favoured_words_are_likelier(engine: TransformersEngine) -> None:
    plain = say(engine)
    once = say(engine, favoured=("Hello",))
    assert once == say(engine, favoured=("Hello",)) and once.count("Hello") >= plain.count("Hello")
    scores = torch.zeros(1, 8)
    choice = decide(Sampling(temperature=0, repetition_penalty=1.0))
    assert Sampler(choice, "cpu", [5], 2.0).pick(scores, [1], []) == 5
    assert Sampler(choice, "cpu").pick(scores, [1], []) == 0


def test_the_files_say_how_they_would_sample_only_where_they_do(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model(), tmp_path / "model")
    for stated, advice in (
        ({"do_sample": True, "temperature": 0.6, "top_k": 20}, Sampling(temperature=0.6, top_k=20)),
        ({"do_sample": True}, Sampling()),
        ({"temperature": 0.6}, Sampling()),
    ):
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, **stated}))
        options = LoadOptions(model=str(folder), device="cpu", dtype="float32")
        described = TransformersEngine().load(options)
        assert described.advice == advice
        assert described.parameters > 1000


def test_long_prompt_read_in_parts_equals_generate(engine: TransformersEngine, tiny_model: TinyModel) -> None:
    prompt = "The quick brown fox jumps over the lazy dog. " * 24
    assert engine.count_tokens([prompt])[0] > 2 * 128
    assert say(engine, prompt) == reference(tiny_model(), prompt)


@pytest.mark.parametrize("kind", ["llama", *SLIDING])
def test_cache_reuse_gives_the_text_of_a_cold_start(tiny_model: TinyModel, kind: str) -> None:
    engine = loaded(tiny_model(kind))
    first = say(engine)
    turns = [PROMPT + first + "</s>\n<|user|>\nTell me a story.</s>\n<|assistant|>\n", PROMPT, "Hello world, " + PROMPT]
    for prompt in turns:
        stats = GenerationStats()
        warm = "".join(engine.generate(Generation(prompt, max_tokens=30, sampling=GREEDY), stats))
        assert warm == say(loaded(tiny_model(kind)), prompt, max_tokens=30)
        if prompt.startswith(PROMPT):
            assert stats.reused_tokens > 0.8 * engine.count_tokens([PROMPT])[0]


def test_sampling_follows_its_seed(engine: TransformersEngine) -> None:
    def sampled(seed: int) -> str:
        return say(engine, sampling=Sampling(temperature=1.0, top_p=0.9, top_k=50, min_p=0.01, seed=seed))

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_top_k_one_is_greedy(engine: TransformersEngine) -> None:
    assert say(engine, sampling=Sampling(temperature=1.0, top_k=1, repetition_penalty=1.0)) == say(engine)


def test_stop_string_ends_the_text_before_it(engine: TransformersEngine) -> None:
    whole = say(engine)
    stop = whole[10:14]
    stats = GenerationStats()
    text = "".join(engine.generate(Generation(PROMPT, 40, (stop,), GREEDY), stats))
    assert text == whole[: whole.find(stop)]
    assert stats.finish_reason == "stop"
    assert stats.generated_tokens < 40


def test_every_end_token_is_honoured(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model(), tmp_path / "model")
    whole = loaded(folder)
    ids = whole._tokenizer(PROMPT, add_special_tokens=False).input_ids
    picked = list(whole._tokens(ids, Generation(PROMPT, 20, sampling=GREEDY), GenerationStats(), whole._cancelled))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, picked[8]]}))
    engine = loaded(folder)
    stats = GenerationStats()
    text = "".join(engine.generate(Generation(PROMPT, 20, sampling=GREEDY), stats))
    assert stats.finish_reason == "stop"
    assert stats.generated_tokens == picked.index(picked[8])
    assert say(whole).startswith(text)


def test_cancel_stops_within_one_token(engine: TransformersEngine) -> None:
    stats = GenerationStats()
    pieces = engine.generate(Generation(PROMPT, 200, sampling=GREEDY), stats)
    next(pieces)
    made = stats.generated_tokens
    engine.cancel()
    list(pieces)
    assert stats.finish_reason == "cancelled"
    assert stats.generated_tokens <= made + 1


def test_closing_the_iterator_stops_and_the_next_reply_is_whole(engine: TransformersEngine) -> None:
    whole = say(engine)
    stats = GenerationStats()
    pieces = engine.generate(Generation(PROMPT, 200, sampling=GREEDY), stats)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert stats.finish_reason == "cancelled"
    assert say(engine) == whole


def test_a_late_cancel_does_not_touch_the_next_reply(engine: TransformersEngine) -> None:
    whole = say(engine)
    engine.cancel()
    assert say(engine) == whole


def test_length_is_the_reason_when_tokens_run_out(engine: TransformersEngine) -> None:
    stats = GenerationStats()
    list(engine.generate(Generation(PROMPT, 5, sampling=GREEDY), stats))
    assert (stats.finish_reason, stats.generated_tokens) == ("length", 5)


def test_window_limits_prompt_and_reply(tiny_model: TinyModel) -> None:
    engine = loaded(tiny_model(), context_window=64)
    stats = GenerationStats()
    list(engine.generate(Generation(PROMPT, 300, sampling=GREEDY), stats))
    assert stats.prompt_tokens + stats.generated_tokens == 64
    with pytest.raises(EngineError, match="window is 64"):
        say(engine, PROMPT * 10)


def test_model_info(tiny_model: TinyModel) -> None:
    loaded_model = TransformersEngine().load(LoadOptions(str(tiny_model("phi")), device="cpu"))
    info = loaded_model.info
    assert (info.family, info.context_window, info.bos_token, info.eos_token) == ("phi", 512, "<s>", "</s>")
    assert info.chat_template.startswith("{% for m in messages %}")
    assert loaded_model.device == "cpu"
    assert loaded_model.memory_bytes > 10_000


def test_unload_then_generate_is_a_plain_error(tiny_model: TinyModel) -> None:
    engine = loaded(tiny_model())
    engine.unload()
    with pytest.raises(EngineError, match="No model is loaded"):
        say(engine)


def test_half_an_emoji_in_the_prompt_does_no_harm(engine: TransformersEngine) -> None:
    assert say(engine, "Hello \ud83d there", max_tokens=3)


def test_running_out_of_memory_is_one_line_and_the_engine_goes_on(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = say(engine)

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(engine._reader, "_model", fail)
        patch.setattr(fail, "device", engine._model.device, raising=False)
        with pytest.raises(EngineError, match="ran out of memory"):
            say(engine)
    assert say(engine) == whole
