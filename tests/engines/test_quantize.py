"""Packed weights: the same answers, less memory, and a step back wherever they do not work or do not pay."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zwaif_fallback import demo
from zwaif_fallback.engine_types import Generation, LoadedModel, LoadOptions
from zwaif_fallback.engines import quantize, transformers_loading
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_hooks.messages import Sampling

pytestmark = pytest.mark.slow

EMBEDDED = demo.MODEL
GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
HAS_INT4 = hasattr(torch.ops.aten, "_convert_weight_to_int4pack_for_cpu")
BITS = [8, pytest.param(4, marks=pytest.mark.skipif(not HAS_INT4, reason="this torch has no 4-bit weights"))]


def loaded(
    monkeypatch: pytest.MonkeyPatch, folder: Path, pays: Callable[[int, str], bool], **options: Any
) -> tuple[TransformersEngine, LoadedModel]:
    monkeypatch.setattr(transformers_loading, "pays", pays)
    engine = TransformersEngine()
    return engine, engine.load(LoadOptions(str(folder), device="cpu", **options))


def ask(engine: TransformersEngine, question: str) -> str:
    prompt = f"<|user|>\n{question}</s>\n<|assistant|>\n"
    return "".join(engine.generate(Generation(prompt, 24, sampling=GREEDY)))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("tokens", [1, quantize.FEW + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_layer_computes_what_the_plain_one_does(bits: int, tokens: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    plain = torch.nn.Linear(128, 96, dtype=dtype)
    x = torch.randn(2, tokens, 128, dtype=dtype)
    with torch.inference_mode():
        exact, packed = plain(x).float(), quantize._packed_linear(plain, bits)(x)
    assert packed.dtype == dtype
    assert (packed.float() - exact).norm() / exact.norm() < {8: 0.02, 4: 0.15}[bits]


def test_8_bits_give_the_embedded_model_s_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, _ = loaded(monkeypatch, EMBEDDED, lambda bits, dtype: False)
    packed, description = loaded(monkeypatch, EMBEDDED, lambda bits, dtype: bits == 8)
    assert description.quantization == "8-bit"
    questions = ["Hello there!", "What is your name?", "How are you today?", "Tell me a story.", "Good night."]
    assert [ask(packed, question) for question in questions] == [ask(plain, question) for question in questions]


@pytest.mark.parametrize("bits", BITS)
def test_memory_is_what_was_estimated(monkeypatch: pytest.MonkeyPatch, tiny_model: Any, bits: int) -> None:
    from zwaif_fallback.models.memory import Plan, need
    from zwaif_fallback.models.safetensors_facts import read_folder

    _, description = loaded(monkeypatch, EMBEDDED, lambda width, dtype: width == bits)
    facts = read_folder(EMBEDDED)
    estimated = need(facts, Plan("cpu", description.dtype, bits), 0).weights
    plain = need(facts, Plan("cpu", description.dtype), 0).weights
    assert description.memory_bytes < plain
    assert description.memory_bytes == pytest.approx(estimated, rel=0.25)


@pytest.mark.parametrize("kind", ["phi", "gpt2"])
def test_every_kind_of_model_still_speaks(monkeypatch: pytest.MonkeyPatch, tiny_model: Any, kind: str) -> None:
    engine, _ = loaded(monkeypatch, tiny_model(kind), lambda bits, dtype: bits == 8)
    assert ask(engine, "Hello")


def test_a_model_that_cannot_be_packed_is_loaded_as_it_is(monkeypatch: pytest.MonkeyPatch, tiny_model: Any) -> None:
    def refuse(model: Any, bits: int) -> int:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(transformers_loading, "pack_model", refuse)
    engine, description = loaded(monkeypatch, tiny_model(), lambda bits, dtype: bits == 8)
    assert description.quantization == ""
    assert description.notes[0].startswith("8-bit on cpu did not work (no such kernel)")
    assert ask(engine, "Hello")


def plans(monkeypatch: pytest.MonkeyPatch, works: tuple[int, ...], **options: Any) -> tuple[list[str], list[str]]:
    monkeypatch.setattr(transformers_loading, "cpu_computes_bfloat16", lambda: True)
    monkeypatch.setattr(transformers_loading, "pays", lambda bits, dtype: bits in works)
    notes: list[str] = []
    made = transformers_loading.make_plans(LoadOptions("m", device="cpu", **options), None, notes)
    return [str(plan) for plan in made], notes


def test_8_bits_are_the_choice_and_4_bits_where_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    eight, four, plain = "8-bit on cpu", "4-bit on cpu", "bfloat16 on cpu"
    assert plans(monkeypatch, (8, 4))[0] == [eight, four, plain]
    assert plans(monkeypatch, (8, 4), quantization="4bit")[0] == [four, eight, plain]
    assert plans(monkeypatch, (8, 4), quantization="none")[0] == [plain]
    assert plans(monkeypatch, ())[0] == [plain]
    made, notes = plans(monkeypatch, (8,), quantization="4bit")
    assert made == [eight, plain]
    assert notes == ["4-bit weights are not faster on this processor; using the fastest ones instead."]


def test_a_torch_without_the_kernels_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(layer: Any, bits: int) -> Any:
        raise AttributeError("no such operator")

    monkeypatch.setattr(quantize, "_packed_linear", missing)
    quantize.pays.cache_clear()
    assert quantize.pays(8, "bfloat16") is False
    quantize.pays.cache_clear()
