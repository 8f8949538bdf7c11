"""What fits, and which is chosen, for made-up machines and models; the sums behind it."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from zwaif_fallback import llama_servers
from zwaif_fallback.choosing import memory_fit
from zwaif_fallback.choosing.memory_fit import Abilities, fit, pace
from zwaif_fallback.choosing.ranking import Choice, choose, is_clearly_better
from zwaif_fallback.hardware import Gpu, Memory, cpu_dtype
from zwaif_fallback.llama_servers import Device, LlamaProgram
from zwaif_fallback.models.facts import GGUF, SAFETENSORS, ModelFacts, Shape
from zwaif_fallback.models.memory import GGUF_PROGRAM, GGUF_WORKING, NF4, TORCH_PROGRAM, Plan, need, planned_window
from zwaif_fallback.models.search import FoundModel

GB = 1_000_000_000
EVERYTHING = Abilities(torch_cuda=True, gguf_cuda=True, four_bit=True)
NO_CARD = Abilities()


def memory(ram: float, vram: float = 0) -> Memory:
    cards = (Gpu("A card", int(vram * GB), int(vram * GB)),) if vram else ()
    return Memory(int(2 * ram * GB), int(ram * GB), cards)


def model(name: str, billions: float, bits: float = 4.5, template: bool = True, format: str = GGUF) -> FoundModel:
    parameters = int(billions * GB)
    shape = Shape(layers=30, cached_numbers=60_000, hidden=3000, vocabulary=100_000, quantizable=int(parameters * 0.9))
    weights = int(parameters * bits / 8)
    facts = ModelFacts(format, "llama", parameters, "Q4_K_M", 8192, weights, weights, template, shape=shape)
    return FoundModel(name, "LM Studio", f"lmstudio:{name}", Path("/models") / name, facts)


# --- sums -------------------------------------------------------------------------------------------------------------


def test_weights_cache_and_program_are_added() -> None:
    facts = model("m", 1, bits=8).facts
    expected = need(facts, Plan("cpu"), 1000)
    assert (expected.weights, expected.cache) == (GB, 60_000 * 1000 * 2)
    assert expected.total == GB + 120_000_000 + GGUF_WORKING + GGUF_PROGRAM


def test_transformers_weights_follow_the_type_they_are_computed_in() -> None:
    facts = replace(model("m", 1, bits=16, format=SAFETENSORS).facts, quantization="bf16")
    half = need(facts, Plan("cpu", "bfloat16"), 1000)
    full = need(facts, Plan("cpu", "float32"), 1000)
    assert half.peak == half.total == 2 * GB + 120_000_000 + TORCH_PROGRAM
    assert full.weights == 4 * GB and full.cache == 240_000_000
    # While the weights are copied the file is mapped too: more than is needed afterwards.
    assert full.peak == 4 * GB + 2 * GB + TORCH_PROGRAM > full.total
    four_bit = need(facts, Plan("cuda", "bfloat16", bits=4), 1000)
    assert four_bit.weights == int(0.1 * GB * 2 + 0.9 * GB * NF4)


def test_the_window_is_planned_within_bounds() -> None:
    facts = model("m", 1).facts
    assert planned_window(replace(facts, window=131_072)) == 8192
    assert planned_window(replace(facts, window=131_072), 32_768) == 32_768
    assert planned_window(replace(facts, window=2048), 32_768) == 2048
    assert planned_window(replace(facts, window=0)) == 2048


# --- verdicts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("billions", "ram", "vram", "can", "verdict"),
    [
        (7, 16, 8, EVERYTHING, "fits on GPU"),
        (7, 16, 4, EVERYTHING, "fits partly on GPU"),
        (7, 16, 1, EVERYTHING, "CPU only"),
        (7, 16, 8, NO_CARD, "CPU only"),
        (7, 16, 0, EVERYTHING, "CPU only"),
        (7, 5, 0, EVERYTHING, "too big"),
        (70, 16, 8, EVERYTHING, "too big"),
    ],
)
def test_verdicts(billions: float, ram: float, vram: float, can: Abilities, verdict: str) -> None:
    found = fit(model("m", billions).facts, memory(ram, vram), can=can)
    assert found.verdict == verdict
    assert found.fits is (verdict != "too big")


def test_a_processor_s_speed_is_told() -> None:
    assert fit(model("m", 1.1).facts, memory(16), can=NO_CARD).text == "CPU only, about 32 tokens/s"
    assert fit(model("m", 0.0023).facts, memory(16), can=NO_CARD).text == "CPU only, about 15,000 tokens/s"
    assert fit(model("m", 50).facts, memory(64), can=NO_CARD).text == "CPU only, under 1 token/s"


def test_the_settings_count() -> None:
    facts = model("m", 7).facts
    assert fit(facts, memory(16, 24), device="cpu", can=EVERYTHING).verdict == "CPU only"
    assert fit(facts, memory(16, 5.5), window=2048, can=EVERYTHING).verdict == "fits on GPU"
    assert fit(facts, memory(16, 5.0), window=8192, can=EVERYTHING).verdict == "fits partly on GPU"
    published = model("m", 7, bits=16, format=SAFETENSORS).facts
    assert fit(published, memory(32, 8), can=EVERYTHING).plan.bits == 4
    assert fit(published, memory(32, 36), can=EVERYTHING).plan.bits == 0
    assert fit(published, memory(32, 36), quantization="4bit", can=EVERYTHING).plan.bits == 4
    assert fit(published, memory(32, 14), quantization="none", can=EVERYTHING).verdict == "fits partly on GPU"
    assert fit(published, memory(32, 8), quantization="none", can=EVERYTHING).verdict == "CPU only"


def test_what_cannot_be_used_fits_nowhere() -> None:
    broken = replace(model("m", 1).facts, problem="is an embedding model: it cannot chat")
    assert not fit(broken, memory(64, 24), can=EVERYTHING).fits


def test_a_gguf_file_needs_its_engine() -> None:
    found = fit(model("m", 1).facts, memory(64, 24), can=Abilities(gguf=False))
    assert not found.fits and "pip install xllamacpp" in found.text
    assert fit(model("m", 1, format=SAFETENSORS).facts, memory(64), can=Abilities(gguf=False)).fits


def test_a_llama_server_that_was_found_runs_gguf_on_the_card() -> None:
    facts, program = model("m", 7).facts, Path(sys.executable)
    assert fit(facts, memory(16, 8), can=NO_CARD).verdict == "CPU only"
    devices = (Device("Vulkan0", "Vulkan", "A card", 8 * GB, 8 * GB),)
    llama_servers.remember("auto", LlamaProgram(program, "Jan", "1", frozenset(), devices))
    assert pace(fit(facts, memory(16, 8), can=NO_CARD), None) == "on the graphics card"
    assert fit(facts, memory(16, 0), can=NO_CARD).verdict == "fits on GPU", "a card that is not NVIDIA's"
    assert fit(facts, memory(16, 1), can=NO_CARD).verdict == "CPU only", "memory as it is now, where it is known"
    assert fit(facts, memory(16, 8), llama_server="off", can=NO_CARD).verdict == "CPU only"
    assert fit(facts, memory(16, 8), device="cpu", can=NO_CARD).verdict == "CPU only"
    assert fit(model("m", 1, format=SAFETENSORS).facts, memory(16, 8), can=NO_CARD).verdict == "CPU only"


# --- the choice -------------------------------------------------------------------------------------------------------


def chosen(*models: FoundModel, ram: float = 16, vram: float = 0, served: FoundModel | None = None) -> str:
    choice = choose(models, memory(ram, vram), served=served, can=EVERYTHING)
    return choice.model.name if choice else ""


def test_the_largest_that_talks_in_time() -> None:
    models = [model("small", 1), model("middle", 3), model("large", 8), model("huge", 70)]
    assert chosen(*models) == "middle"
    assert chosen(*models, vram=10) == "large"
    assert chosen(model("large", 12), model("larger", 14)) == "large"
    assert chosen() == chosen(model("huge", 70)) == ""


def test_what_is_made_for_talk_goes_first() -> None:
    assert chosen(model("Qwen2.5-Coder-3B", 3), model("Qwen2.5-1.5B-Instruct", 1.5)) == "Qwen2.5-1.5B-Instruct"
    assert chosen(model("bare-3B", 3, template=False), model("chat-1B", 1)) == "chat-1B"
    assert chosen(model("Coder", 3)) == "Coder"


def test_too_few_bits_count_as_less() -> None:
    assert chosen(model("8B-Q2", 8, bits=2.6), model("7B-Q4", 7), vram=10) == "7B-Q4"


def test_the_server_s_own_model_has_the_same_voice() -> None:
    own = model("own", 1)
    assert chosen(own, model("better", 3), served=own) == "own"
    slow = model("slow", 14)
    assert chosen(slow, model("better", 3), served=slow) == "better"
    gone = model("gone", 1)
    assert chosen(model("better", 3), served=gone) == "better"


def test_broken_models_are_never_chosen() -> None:
    broken = replace(model("broken", 3), facts=replace(model("broken", 3).facts, problem="is not complete"))
    assert chosen(broken, model("whole", 1)) == "whole"


def choice(one: FoundModel, room: Memory, served: FoundModel | None = None) -> Choice:
    made = choose([one], room, served=served, can=EVERYTHING)
    assert made is not None
    return made


def test_only_a_clear_gain_is_worth_a_switch() -> None:
    three, four, eight = model("3B", 3), model("3.5B", 3.5), model("8B", 8)
    room = memory(16, 12)
    assert not is_clearly_better(choice(four, room), choice(three, room))
    assert is_clearly_better(choice(eight, room), choice(three, room))
    assert not is_clearly_better(choice(three, room), choice(eight, room))
    assert is_clearly_better(choice(three, room), choice(eight, memory(16)))
    assert is_clearly_better(choice(three, room, served=three), choice(eight, room))
    assert not is_clearly_better(choice(three, room, served=three), choice(three, room, served=three))


# --- what the libraries can do ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("__version__ = '2.7.1+cu118'\ncuda: Optional[str] = '11.8'\n", True),
        ("__version__ = '2.7.1+cpu'\ncuda: Optional[str] = None\n", False),
        ("cuda = '12.1'\nhip = None\n", True),
        ("", False),
    ],
)
def test_torch_is_asked_by_its_files(text: str, has: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "version.py").write_text(text)
    monkeypatch.setattr(memory_fit, "_files_of", lambda package, name="*": list(tmp_path.glob(name)))
    assert memory_fit._torch_has_cuda() is has


def test_this_machine_s_libraries() -> None:
    assert memory_fit._files_of("zwaif_fallback", "plugin.py") and memory_fit._files_of("no_such_package") == []
    assert isinstance(memory_fit.abilities(), Abilities)
    assert cpu_dtype() in ("bfloat16", "float32")
