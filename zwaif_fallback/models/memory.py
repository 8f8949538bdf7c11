"""How much memory a model will take, from its headers alone: weights, KV cache, working room, and the program itself.

The figures for a processor were measured with ``benchmarks/memory.py``; docs/models.md has its table.
"""

from __future__ import annotations

from dataclasses import dataclass

from zwaif_fallback.models.facts import GGUF, ModelFacts, Shape

MB = 1_000_000
TORCH_PROGRAM = 370 * MB
"""A worker with torch and transformers before it holds a model."""
GGUF_PROGRAM = 40 * MB
"""The same with llama.cpp, which needs no torch."""
GGUF_WORKING = 15 * MB
"""llama.cpp's buffers while it reads a part of a prompt."""
MOST_COPIES = 128 * MB
"""What copies of a state may take, as far as there is a choice."""
CUDA_PROGRAM = 500 * MB
"""What a card gives to every program that computes on it (its context and libraries)."""
_WIDTH = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_STORED = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0}
NF4 = 0.53
"""Bytes: half of one, and one double-quantized scale for every 64 weights."""
_GPU_PART = 1024
"""Tokens that the transformers engine reads at once on a card."""
UNKNOWN_WINDOW = 2048
MOST_WINDOW = 8192
"""Tokens a fallback is planned for at most: a window of 128k would need more cache than weights."""


@dataclass(frozen=True)
class Plan:
    """How a model would be loaded."""

    device: str = "cpu"
    """``cpu`` or ``cuda``."""
    dtype: str = "bfloat16"
    """What transformers computes in; a GGUF file has its own types."""
    four_bit: bool = False


@dataclass(frozen=True)
class Need:
    """Bytes, by what they are for."""

    weights: int
    cache: int
    working: int
    program: int
    mapped: int = 0
    """Pages of the file that are looked at once while loading: the system counts them, and takes them back at will."""

    @property
    def total(self) -> int:
        """What must be free."""
        return self.weights + self.cache + self.working + self.program

    @property
    def peak(self) -> int:
        """What the system shows for the process at its most: the file's pages are gone before the cache grows."""
        return self.weights + max(self.cache + self.working, self.mapped) + self.program


def planned_window(facts: ModelFacts, wanted: int = 0) -> int:
    """Tokens the model would be loaded with: what the settings say, bounded by what it can."""
    window = facts.window or UNKNOWN_WINDOW
    return min(window, wanted) if wanted else min(window, MOST_WINDOW)


def gguf_cache(shape: Shape, window: int) -> int:
    """Bytes that llama.cpp keeps of what was read: its cache in float16, and states with copies to go back to."""
    return shape.cached(window) * 2 + shape.state * (1 + copies_of_state(shape))


def copies_of_state(shape: Shape) -> int:
    """How often a state is kept as it was at an earlier place: four are needed from one turn to the next."""
    return max(4, min(8, MOST_COPIES // max(shape.state, 1)))


def need(facts: ModelFacts, plan: Plan, window: int) -> Need:
    """Peak memory with a full window, in bytes, on the device of ``plan``."""
    return _gguf(facts, plan, window) if facts.format == GGUF else _transformers(facts, plan, window)


def _gguf(facts: ModelFacts, plan: Plan, window: int) -> Need:
    cache = gguf_cache(facts.shape, window)
    if plan.device == "cuda":
        return Need(facts.weights, cache, GGUF_WORKING, CUDA_PROGRAM)
    # On a processor llama.cpp sorts some kinds of weights anew and leaves the file mapped, so both are counted.
    return Need(facts.weights, cache, GGUF_WORKING, GGUF_PROGRAM, facts.shape.sorted_anew + cache + GGUF_WORKING)


def _transformers(facts: ModelFacts, plan: Plan, window: int) -> Need:
    width = _WIDTH.get(plan.dtype, 2.0)
    shrunk = facts.shape.quantizable if plan.four_bit else 0
    weights = int((facts.parameters - shrunk) * width + shrunk * NF4)
    cache = int(facts.shape.cached_numbers * window * width)
    if plan.device == "cuda":
        return Need(weights, cache, _reading(facts), CUDA_PROGRAM)
    copied = _STORED.get(facts.quantization, width) != width
    return Need(weights, cache, 0, TORCH_PROGRAM, facts.weights if copied else 0)


def _reading(facts: ModelFacts) -> int:
    """Bytes while a part of a prompt is read on a card: a few rows of the model's width and one of its vocabulary."""
    return int(4 * (_GPU_PART * 12 * facts.shape.hidden + facts.shape.vocabulary))
