"""Decide whether a model fits into the memory that is free now, on which device, and how fast it would be there."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from zwaif_fallback.hardware import Gpu, Memory, cpu_dtype
from zwaif_fallback.install_hints import GGUF_ENGINE
from zwaif_fallback.llama_servers import remembered_cards
from zwaif_fallback.models.card_plans import CardPlan, card_plans
from zwaif_fallback.models.facts import GGUF, PLUGIN, ModelFacts
from zwaif_fallback.models.measurements import Measurement
from zwaif_fallback.models.memory import LEFT_FREE, Need, Plan, need, planned_window

ON_GPU, PARTLY, ON_CPU, TOO_BIG, UNUSABLE = "fits on GPU", "fits partly on GPU", "CPU only", "too big", "cannot be used"
BY_PLUGIN = "run by a plugin"
NO_ENGINE = f"needs one more package: {GGUF_ENGINE}"

GGUF_BANDWIDTH, TORCH_BANDWIDTH, COPY_BANDWIDTH = 20e9, 13e9, 6e9
"""Bytes per second at which two cores of a current processor read weights. Each token reads all weights once: a 620 MB
Q4_0 file gives 34.6 tokens/s in llama.cpp, 2.2 GB in bfloat16 give 4.5 to 7.1 in transformers. The last is what a card
copies from RAM, where accelerate has split a model; not measured."""
TALKING_SPEED = 5.0
"""Tokens per second below which speech has to wait for the next sentence."""
_SHOWN = {
    ON_GPU: "on the graphics card",
    PARTLY: "partly on the graphics card",
    TOO_BIG: "too big for the memory that is free now",
}


@dataclass(frozen=True)
class Abilities:
    """What the installed libraries support."""

    gguf: bool = True
    """Whether GGUF models can run at all."""
    torch_cuda: bool = False
    gguf_cuda: bool = False
    """Whether xllamacpp itself uses the card. A llama-server that does is remembered elsewhere, because it may come and
    go: see :func:`zwaif_fallback.llama_servers.remembered_cards`."""
    four_bit: bool = False


@dataclass(frozen=True)
class Fit:
    """Whether and how one model fits now."""

    verdict: str
    """One of the constants above."""
    need: Need
    plan: Plan
    window: int
    tokens_per_second: float = 0.0
    """Estimate for the processor's part; 0 if the card does everything."""
    on_card: float = 0.0
    """Share of the model that is on the card."""

    @property
    def text(self) -> str:
        """The verdict for a list: ``CPU only, about 12 tokens/s``."""
        if self.verdict != ON_CPU:
            return self.verdict
        speed = self.tokens_per_second
        return f"{ON_CPU}, about {_estimate(speed)} tokens/s" if speed >= 1 else f"{ON_CPU}, under 1 token/s"

    @property
    def fits(self) -> bool:
        return self.verdict in (ON_GPU, PARTLY, ON_CPU, BY_PLUGIN)


@cache
def abilities() -> Abilities:
    """Read them from the libraries' files: importing takes seconds and memory, and this runs in Z-Waif's process."""
    return Abilities(
        gguf=importlib.util.find_spec("xllamacpp") is not None,
        torch_cuda=_torch_has_cuda(),
        gguf_cuda=any("cuda" in file.name.lower() for file in _files_of("xllamacpp")),
        four_bit=importlib.util.find_spec("bitsandbytes") is not None,
    )


def fit(
    facts: ModelFacts,
    memory: Memory,
    *,
    window: int = 0,
    device: str = "auto",
    quantization: str = "auto",
    llama_server: str = "auto",
    can: Abilities | None = None,
) -> Fit:
    """Return how a model fits into ``memory``; ``window`` to ``llama_server`` are as in the settings."""
    can = can or abilities()
    tokens = planned_window(facts, window)
    on_cpu = Plan("cpu", cpu_dtype())
    cpu = need(facts, on_cpu, tokens)
    if not facts.usable:
        return Fit(UNUSABLE, cpu, on_cpu, tokens)
    if facts.format == GGUF and not can.gguf:
        return Fit(NO_ENGINE, cpu, on_cpu, tokens)
    if facts.format == PLUGIN:
        fits = not facts.weights or facts.weights <= memory.ram_free - LEFT_FREE
        return Fit(BY_PLUGIN if fits else TOO_BIG, cpu, on_cpu, tokens)
    gpu = _card(facts, memory, llama_server, can) if device == "auto" or device.startswith("cuda") else None
    if gpu:
        ways = card_plans(facts, [gpu.free], tokens, quantization=quantization, four_bit=can.four_bit)
        way = next((way for way in ways if way.in_ram <= memory.ram_free - LEFT_FREE or way.share == 1.0), None)
        if way is not None:
            return _on_card(facts, way, tokens)
    if cpu.total <= memory.ram_free - LEFT_FREE:
        return Fit(ON_CPU, cpu, on_cpu, tokens, speed(facts, cpu))
    return Fit(TOO_BIG, cpu, on_cpu, tokens)


def _card(facts: ModelFacts, memory: Memory, llama_server: str, can: Abilities) -> Gpu | None:
    """Return the card that the model's engine can use."""
    if facts.format != GGUF:
        return memory.best_gpu if can.torch_cuda else None
    if can.gguf_cuda:
        return memory.best_gpu
    known = remembered_cards(llama_server)
    return (memory.best_gpu or max(known, key=lambda gpu: gpu.free)) if known else None


def _on_card(facts: ModelFacts, way: CardPlan, window: int) -> Fit:
    if way.share == 1.0:
        return Fit(ON_GPU, way.need, way.plan, window, on_card=1.0)
    rate = (GGUF_BANDWIDTH if facts.format == GGUF else COPY_BANDWIDTH) / max(way.need.weights, 1)
    return Fit(PARTLY, way.need, way.plan, window, rate / (1 - way.share), way.share)


def _estimate(value: float) -> str:
    """Round to two digits: more would claim too much accuracy."""
    return f"{float(f'{value:.2g}'):,.0f}"


def speed(facts: ModelFacts, expected: Need) -> float:
    """Return a rough estimate of tokens per second on a processor: each token reads all weights once."""
    return (GGUF_BANDWIDTH if facts.format == GGUF else TORCH_BANDWIDTH) / max(expected.weights, 1)


def is_in_time(how: Fit) -> bool:
    """Return whether it is fast enough that speech does not wait for the next sentence."""
    return how.verdict == ON_GPU or how.tokens_per_second >= TALKING_SPEED


def pace(how: Fit, measurement: Measurement | None) -> str:
    """Return ``31 tokens/s measured here``; if not measured, ``about 29 tokens/s`` or where it would run."""
    if measurement is not None and measurement.tokens_per_second:
        return f"{measurement.tokens_per_second:.0f} tokens/s measured here"
    if how.verdict == ON_CPU:
        return how.text.partition(", ")[2]
    return _SHOWN.get(how.verdict, how.verdict)


def _torch_has_cuda() -> bool:
    for file in _files_of("torch", "version.py"):
        match = re.search(r"^cuda\b[^=]*=\s*['\"]", file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
        return match is not None
    return False


def _files_of(package: str, name: str = "*") -> list[Path]:
    """Return the files directly in an installed package's folder, without importing it."""
    found = importlib.util.find_spec(package)
    folders = [Path(place) for place in (found.submodule_search_locations or ())] if found else []
    libraries = [folder.with_name(f"{folder.name}.libs") for folder in folders]
    return [file for folder in (*folders, *libraries) for file in folder.glob(name)]
