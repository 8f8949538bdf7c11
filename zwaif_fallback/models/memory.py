"""Compute the memory that a model needs from its headers: weights, KV cache, working buffers, and the program itself.

The figures for a processor were measured with ``benchmarks/memory.py``; the table is in docs/models.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zwaif_fallback.models.catalogue import Offer
from zwaif_fallback.models.facts import GGUF, ModelFacts, Shape
from zwaif_fallback.models.safetensors_facts import WEIGHT_FILES, cached_numbers, is_shrunk, read_json
from zwaif_fallback.models.safetensors_header import read_tensors

MB = 1_000_000
TORCH_PROGRAM = 370 * MB
"""A worker with torch and transformers before it loads a model."""
GGUF_PROGRAM = 40 * MB
"""A worker with llama.cpp, which needs no torch."""
GGUF_WORKING = 15 * MB
"""llama.cpp's buffers while it reads a part of a prompt."""
MOST_COPIES = 128 * MB
"""Budget for copies of a recurrent state beyond the four that are always kept."""
CUDA_PROGRAM = 500 * MB
"""What a card gives to every program that computes on it (context and libraries)."""
_WIDTH = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
_STORED = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0}
NF4 = 0.53
"""Bytes per weight: half a byte, and one double-quantized scale for every 64 weights."""
_GPU_PART = 1024
"""Tokens that the transformers engine reads at once on a card."""
UNKNOWN_WINDOW = 2048
MOST_WINDOW = 8192
"""Most tokens to plan for: a window of 128k would need more cache than weights."""


_BYTES = {
    "float32": 4.0,
    "bfloat16": 2.0,
    "float16": 2.0,
    "4bit": NF4,
    "int8": 1.0,
    "int4": 0.625,  # half a byte, and 16-bit scale and offset for every 32 weights
}
RUNTIME_BYTES = 700 * 1024 * 1024
"""A cautious figure for a worker before it loads a model: Python, torch and transformers (measured: 400 to 700 MB)."""


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
    """Bytes by purpose."""

    weights: int
    cache: int
    working: int
    program: int
    mapped: int = 0
    """Pages of the file read during loading: the system counts them but takes them back when it needs memory."""

    @property
    def total(self) -> int:
        """What must be free."""
        return self.weights + self.cache + self.working + self.program

    @property
    def peak(self) -> int:
        """Most that the system shows for the process: the file's pages are released before the cache grows."""
        return self.weights + max(self.cache + self.working, self.mapped) + self.program


@dataclass(frozen=True)
class Estimate:
    """What loading one model takes, in bytes."""

    weights: int
    kv_cache: int
    runtime: int = RUNTIME_BYTES

    @property
    def total(self) -> int:
        return self.weights + self.kv_cache + self.runtime


@dataclass(frozen=True)
class Weights:
    """Sizes from the headers of a model's safetensors files."""

    parameters: int
    quantizable: int
    """Parameters in matrices that 4-bit loading shrinks: all but embeddings, output head, norms and biases."""


def planned_window(facts: ModelFacts, wanted: int = 0) -> int:
    """Return the context window to load with: as the settings say, within what the model supports."""
    window = facts.window or UNKNOWN_WINDOW
    return min(window, wanted) if wanted else min(window, MOST_WINDOW)


def gguf_cache(shape: Shape, window: int) -> int:
    """Return llama.cpp's bytes for what was read: the cache in float16, and recurrent states with their copies."""
    return shape.cached(window) * 2 + shape.state * (1 + copies_of_state(shape))


def copies_of_state(shape: Shape) -> int:
    """Return how many earlier copies of a recurrent state are kept: at least four, needed from turn to turn."""
    return max(4, min(8, MOST_COPIES // max(shape.state, 1)))


def need(facts: ModelFacts, plan: Plan, window: int) -> Need:
    """Return the peak memory with a full window, in bytes, on the device of ``plan``."""
    return _gguf(facts, plan, window) if facts.format == GGUF else _transformers(facts, plan, window)


def _gguf(facts: ModelFacts, plan: Plan, window: int) -> Need:
    cache = gguf_cache(facts.shape, window)
    if plan.device == "cuda":
        return Need(facts.weights, cache, GGUF_WORKING, CUDA_PROGRAM)
    # On a processor llama.cpp repacks some weights and leaves the file mapped, so both are counted.
    return Need(facts.weights, cache, GGUF_WORKING, GGUF_PROGRAM, facts.shape.repacked + cache + GGUF_WORKING)


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
    """Return the buffers for reading a part of a prompt on a card: several hidden states and one vocabulary row."""
    return int(4 * (_GPU_PART * 12 * facts.shape.hidden + facts.shape.vocabulary))


def planned_facts(offer: Offer) -> ModelFacts:
    """Return facts for an offer that is not downloaded; its cache is the planned memory beyond the weights."""
    size = int(offer.download_gb * 1e9)
    shrunk = offer.weights_gb.get("4bit", offer.download_gb)
    beside = max(0.0, offer.memory_gb - shrunk - 0.1) * 1e9
    shape = Shape(
        cached_numbers=int(beside / min(offer.context_window, MOST_WINDOW) / 2),
        quantizable=int((offer.download_gb - shrunk) * 1e9 / (2 - NF4)),
    )
    parameters = int(offer.parameters * 1e9)
    stored = offer.memory_when if offer.format == GGUF else "bf16"
    return ModelFacts(offer.format, "", parameters, stored, offer.context_window, size, size, True, shape=shape)


def read_weights(folder: Path) -> Weights:
    """Return the sizes in the safetensors headers of ``folder``; nothing is loaded.

    Raises:
        ValueError: a file is not a safetensors file.
        OSError: a file cannot be read.
    """
    tensors = [tensor for file in sorted(folder.glob(WEIGHT_FILES)) for tensor in read_tensors(file)]
    return Weights(
        sum(tensor.elements for tensor in tensors),
        sum(tensor.elements for tensor in tensors if is_shrunk(tensor)),
    )


def estimate_memory(
    folder: Path, *, dtype: str = "bfloat16", quantization: str = "", context_window: int = 2048
) -> Estimate:
    """Return what loading ``folder`` takes with ``dtype`` and ``quantization`` (``4bit`` on a card, ``int8`` or
    ``int4`` on a processor, or empty).

    Raises:
        ValueError, OSError: the folder has no readable model.
    """
    weights = read_weights(folder)
    width = _BYTES.get(dtype, 2.0)
    shrunk = weights.quantizable if quantization else 0
    size = (weights.parameters - shrunk) * width + shrunk * _BYTES.get(quantization, width)
    return Estimate(weights=int(size), kv_cache=_kv_cache(folder, context_window, min(width, 4.0)))


def _kv_cache(folder: Path, context_window: int, width: float) -> int:
    """Return the bytes of two vectors per layer, key-value head and token."""
    return int(cached_numbers(read_json(folder / "config.json")) * context_window * width)
