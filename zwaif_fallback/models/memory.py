"""Compute the memory that a model needs from its headers: weights, KV cache, working buffers, and the program itself.

Every other module asks here. The figures for a processor were measured with ``benchmarks/memory.py``, those for a card
with ``benchmarks/gpu.py``; the tables are in docs/models.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from zwaif_fallback.models.catalogue import Offer
from zwaif_fallback.models.facts import GGUF, PLUGIN, ModelFacts, Shape
from zwaif_fallback.models.slots import CAPTURED, slot_cache_bytes, slots_for

MB = 1_000_000
TORCH_PROGRAM = 370 * MB
"""A worker with torch and transformers before it loads a model."""
GGUF_PROGRAM = 40 * MB
"""A worker with llama.cpp, which needs no torch."""
GGUF_WORKING = 15 * MB
"""llama.cpp's buffers while it reads a part of a prompt."""
MOST_COPIES = 128 * MB
"""Budget for copies of a recurrent state beyond the four that are always kept."""
TORCH_ON_CARD = 800 * MB
"""A card's memory for CUDA's context, torch's kernels, cuBLAS's workspaces (32 MiB each) and the unused ends of the
allocator's blocks. Six measured peaks on an H200 leave 0.75 to 0.95 GB after weights, cache and buffers; smaller cards
have smaller contexts."""
GGUF_ON_CARD = 500 * MB
"""A card's memory for CUDA's context and llama.cpp's kernels; not measured."""
LEFT_FREE = 700 * MB
"""RAM left free for Z-Waif's own speech recognition and the system."""
LEFT_ON_CARD, LEFT_SHARE = 300 * MB, 0.05
"""What is left of a card's free memory; the larger of the two. A desktop uses the card too: with a screen of 4K each
picture takes 33 MB, three per screen, and a new window of a browser or a game's overlay several hundred. Windows does
not refuse memory that is not there, it moves pages to RAM, which makes every token slow."""
_STORED = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "fp8": 1.0}
_WIDTH = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
NF4 = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Bytes per weight: half a byte, one byte of scale for 64 weights, and four for 256 of those (double quantization)."""
_PACKED = {8: 1.0, 4: 0.625}
"""Bytes per weight on a processor. For 4 bits: half a byte, and 16-bit scale and offset for every 32 weights."""
_GPU_PART = 1024
"""Tokens that the transformers engine reads at once on a card."""
UNKNOWN_WINDOW = 2048
MOST_WINDOW = 8192
"""Most tokens to plan for: a window of 128k would need more cache than weights."""


@dataclass(frozen=True)
class Plan:
    """How a model would be loaded."""

    device: str = "cpu"
    """``cpu`` or ``cuda``."""
    dtype: str = "bfloat16"
    """What transformers computes in; a GGUF file has its own types."""
    bits: int = 0
    """Bits per weight that transformers rounds to: 4 on a card (NF4), 8 or 4 on a processor; 0 for none."""


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


def usable(card_free: int) -> int:
    """Return the bytes of a card that a model may take."""
    return max(0, card_free - max(LEFT_ON_CARD, int(card_free * LEFT_SHARE)))


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
    if facts.format == PLUGIN:
        return Need(facts.weights, 0, 0, 0)
    return _gguf(facts, plan, window) if facts.format == GGUF else _transformers(facts, plan, window)


def _gguf(facts: ModelFacts, plan: Plan, window: int) -> Need:
    cache = gguf_cache(facts.shape, window)
    if plan.device == "cuda":
        return Need(facts.weights, cache, GGUF_WORKING, GGUF_ON_CARD)
    # On a processor llama.cpp repacks some weights and leaves the file mapped, so both are counted.
    return Need(facts.weights, cache, GGUF_WORKING, GGUF_PROGRAM, facts.shape.repacked + cache + GGUF_WORKING)


def _transformers(facts: ModelFacts, plan: Plan, window: int) -> Need:
    width = _WIDTH.get(plan.dtype, 2.0)
    on_card = plan.device == "cuda"
    shrunk = facts.shape.quantizable if plan.bits else 0
    weights = int((facts.parameters - shrunk) * width + shrunk * (NF4 if on_card else _PACKED.get(plan.bits, 0)))
    if on_card:
        cache = slot_cache_bytes(facts.shape.cached_numbers, window, width) if window else 0
        # While NF4 weights are loaded, one matrix after the other is there in 16 bits: less than cache and buffers.
        return Need(weights, cache, _reading(facts), TORCH_ON_CARD)
    cache = int(facts.shape.cached_numbers * window * width)
    copied = _STORED.get(facts.quantization, width) != width
    return Need(weights, cache, 0, TORCH_PROGRAM, facts.weights if copied else 0)


def _reading(facts: ModelFacts) -> int:
    """Return the buffers for reading a part of a prompt on a card: several hidden states and one vocabulary row."""
    return int(4 * (_GPU_PART * 12 * facts.shape.hidden + facts.shape.vocabulary))


def planned_facts(offer: Offer) -> ModelFacts:
    """Return facts for an offer that is not downloaded; its cache is the planned memory beyond weights and program."""
    size = int(offer.download_gb * 1e9)
    shrunk = offer.weights_gb.get("4bit", offer.download_gb)
    window = min(offer.context_window, MOST_WINDOW)
    program, tokens = TORCH_ON_CARD + CAPTURED, slots_for(window)
    if offer.format == GGUF:
        program, tokens = GGUF_PROGRAM + GGUF_WORKING, window
    beside = max(0.0, (offer.memory_gb - shrunk) * 1e9 - program)
    shape = Shape(
        cached_numbers=int(beside / tokens / 2),
        quantizable=int((offer.download_gb - shrunk) * 1e9 / (2 - NF4)),
    )
    parameters, stored = int(offer.parameters * 1e9), offer.memory_when
    if offer.format != GGUF:
        parameters, stored = size // 2, "bf16"
    return ModelFacts(offer.format, "", parameters, stored, offer.context_window, size, size, True, shape=shape)
