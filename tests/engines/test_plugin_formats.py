"""A plugin's chat format with a real model in both engines: replies end at its stops, and what was read is reused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import zwaif_hooks as zw
from zwaif_fallback import demo
from zwaif_fallback.answering.local_tier import LocalTier
from zwaif_fallback.engine_types import Engine, Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.engines.gguf import GgufEngine
from zwaif_fallback.engines.sampling import Sampler
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_fallback.prompt.writer import PromptWriter
from zwaif_hooks.messages import Sampling
from zwaif_hooks.stream import CancelScope

ROLES = {"system": "|about|", "user": "|them|", "assistant": "|me|"}
TOGETHER = ("|them|", "|me|")
GREEDY = Sampling(temperature=0)


def script(messages: Sequence[zw.Message], partial: str) -> str:
    lines = "".join(f"{ROLES[message.role]}{message.content}\n" for message in messages)
    return f"{lines}|me|{partial}"


class Recorded:
    """An engine, what it was asked, and what came of it."""

    def __init__(self, engine: Engine, loaded: LoadedModel) -> None:
        self.engine = engine
        self.loaded = loaded
        self.asked: list[Generation] = []
        self.stats: list[GenerationStats] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self.engine.count_tokens(texts)

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        self.asked.append(generation)
        self.stats.append(stats or GenerationStats())
        return self.engine.generate(generation, self.stats[-1])


@pytest.fixture(scope="module", params=["transformers", "gguf"])
def model(request: pytest.FixtureRequest) -> Iterator[Recorded]:
    if request.param == "gguf":
        folder, engine = str(request.getfixturevalue("companion_gguf")), GgufEngine()
    else:
        folder, engine = str(demo.MODEL), TransformersEngine()  # type: ignore[assignment]
    yield Recorded(engine, engine.load(LoadOptions(folder, device="cpu")))
    engine.unload()


def tier_of(model: Recorded, chat_format: zw.PromptFormat) -> tuple[LocalTier, PromptWriter]:
    class Plugin:
        @zw.hookimpl
        def prompt_format(self) -> zw.PromptFormat:
            return chat_format

    manager = zw.PluginManager(lambda line, error: None if "leaves out" in line else pytest.fail(line))
    manager.register(Plugin(), "script", guarded=True)
    prompts = PromptWriter(model, manager.prompt_formats)
    return LocalTier(model, lambda: model.loaded, prompts, print), prompts


def chat(*said: str) -> zw.ChatRequest:
    talk = [zw.Message("assistant" if number % 2 else "user", text) for number, text in enumerate(said)]
    return zw.ChatRequest("oobabooga", tuple(talk), max_tokens=40, sampling=GREEDY)


def as_it_was_trained(messages: Sequence[zw.Message], partial: str) -> str:
    return f"<|user|>\n{messages[-1].content}</s>\n<|assistant|>\n{partial}"


def test_a_reply_ends_at_a_stop_of_the_plugin_and_the_stop_is_not_spoken(model: Recorded) -> None:
    def said(*stops: str) -> str:
        tier, _ = tier_of(model, zw.PromptFormat(as_it_was_trained, stops))
        list(tier.speak(chat("Hello, who are you?"), "", CancelScope())[1])
        assert set(stops) <= set(model.asked[-1].stop)
        stats = GenerationStats()
        text = "".join(model.engine.generate(model.asked[-1], stats))
        assert stats.finish_reason == "stop"
        return text

    whole = said()
    for stop in (whole.split()[3], whole[9:14], whole[-3:]):
        assert said("|never|", stop) == whole[: whole.index(stop)]


def test_a_special_token_is_a_stop_too(model: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines write such a token as empty text, so it cannot be found in the reply."""
    token, engine = "<s>", model.engine
    if isinstance(engine, TransformersEngine):
        number = engine._tokenizer.convert_tokens_to_ids(token)
        monkeypatch.setattr(Sampler, "pick", lambda *asked: number)
    else:
        assert isinstance(engine, GgufEngine)
        (number,) = engine._loaded().tokens([token])[0]
        monkeypatch.setattr(engine, "_favour", lambda *asked: [[number, 1000.0]])
    endless = Generation("Hello", 8, sampling=GREEDY, favoured=("tea",))
    for stop, ends in ((), "length"), ((token,), "stop"):
        stats = GenerationStats()
        text = "".join(engine.generate(replace(endless, stop=stop), stats))
        assert (text, stats.finish_reason) == ("", ends)


def test_what_was_read_ahead_in_the_plugins_format_is_not_read_again(model: Recorded) -> None:
    tier, prompts = tier_of(model, zw.PromptFormat(script, TOGETHER))
    first = chat("Hello, Mia. " * 20)
    reply = "".join(tier.speak(first, "", CancelScope())[1]) or "Hello."
    ahead = prompts.next_turn(first, reply, model.loaded.info)
    list(model.engine.generate(Generation(ahead, max_tokens=0)))
    list(tier.speak(chat("Hello, Mia. " * 20, reply, "And you?"), "", CancelScope())[1])
    assert model.asked[-1].prompt.startswith(ahead)
    assert model.stats[-1].reused_tokens >= model.count_tokens([ahead])[0] - 4


def test_what_plugins_are_told_of_the_model(model: Recorded, companion_gguf: Path) -> None:
    info = model.loaded.info
    assert (info.family, info.architecture, info.engine) == ("", "llama", model.loaded.engine)
    assert info.path == str(companion_gguf if info.engine == "gguf" else demo.MODEL)
