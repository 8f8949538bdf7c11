"""The engine by itself: it says nothing that was not said before, and ends."""

from __future__ import annotations

import zwaif_markov

from zwaif_hooks import EngineOptions, EnginePrompt, Sampling
from zwaif_hooks.testing import FakeHost

CHAT = "<|user|>\nThe sea is calm today. Shall we sail?</s>\n<|assistant|>\n"


def test_it_speaks_in_the_words_of_the_chat() -> None:
    engine = zwaif_markov.Markov()
    assert engine.load(EngineOptions("chat")).family == "tinyllama"
    for seed in range(20):
        said = "".join(engine.generate(EnginePrompt(CHAT, 50, sampling=Sampling(seed=seed))))
        assert said and set(said.split()) <= {"The", "sea", "is", "calm", "today.", "Shall", "we", "sail?"}


def test_it_stops_at_its_limit() -> None:
    said = list(zwaif_markov.Markov().generate(EnginePrompt("Aa Bb Aa Bb Aa Bb", 3, sampling=Sampling(seed=1))))
    assert len(said) == 4


def test_its_model_is_declared_without_a_complaint() -> None:
    host = FakeHost()
    host.load(zwaif_markov)
    assert host.errors == []
    ((spec),) = host.call("register_engines")
    assert [model.name for model in spec[0].models] == ["chat"]
