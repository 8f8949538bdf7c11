"""The embedded model is a real one: it loads like any other and says what it was taught."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zwaif_fallback.demo import MODEL

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus() -> ModuleType:
    spec = importlib.util.spec_from_file_location("tiny_corpus", ROOT / "tools" / "tiny_model" / "corpus.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tiny_corpus"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def speak() -> Any:
    """``speak(question, beginning of the answer)``: the rest of the answer, greedily."""
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(MODEL)
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, use_safetensors=True)

    def answer(question: str, partial: str = "") -> str:
        messages = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True) + partial
        inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
        tokens = model.generate(**inputs, max_new_tokens=60, do_sample=False)[0, inputs["input_ids"].shape[1] :]
        return str(tokenizer.decode(tokens, skip_special_tokens=True))

    return answer


@pytest.mark.parametrize("question", ["Hello!", "Is the server down?", "Tell me a joke", "I am sad", "Tell me a story"])
def test_answers_are_the_ones_it_was_taught(question: str, speak: Any, corpus: ModuleType) -> None:
    taught = next(topic.answers for topic in corpus.topics() if question in topic.ways)
    assert speak(question) in taught


@pytest.mark.parametrize(
    "question", ["What is the capital of Norway?", "My bicycle is red.", "你好，今天怎么样？", "😀 🎉"]
)
def test_anything_else_gets_a_sentence(question: str, speak: Any) -> None:
    reply = speak(question)
    assert len(reply) > 10
    assert reply.endswith((".", "!", "?"))


def test_goes_on_from_half_a_sentence(speak: Any) -> None:
    begun = "Every night the old keeper climbs the stairs, lights the lamp, and"
    assert speak("Tell me a story about a lighthouse", begun).startswith(" waves to the ships")


def test_is_small_enough_to_travel_with_the_package() -> None:
    assert sum(path.stat().st_size for path in MODEL.iterdir()) < 3_000_000
