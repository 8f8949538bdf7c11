"""What the headers of a model's files say about it."""

from __future__ import annotations

from dataclasses import dataclass

from zwaif_fallback.models.walk import printable

GGUF, SAFETENSORS, PLUGIN = "GGUF", "safetensors", "plugin"
_LONGEST_TEXT = 300
PART = 512
"""Most tokens that llama.cpp keeps beyond a sliding window: those it reads in one batch."""


@dataclass(frozen=True)
class Shape:
    """The numbers that a model's memory is computed from; 0 if its files do not say."""

    layers: int = 0
    cached_numbers: int = 0
    """KV cache per token, all layers together: keys and values of every key-value head."""
    windowed_numbers: int = 0
    """The same for the layers that look back over :attr:`sliding_window` tokens only and keep no more."""
    sliding_window: int = 0
    state: int = 0
    """Bytes that recurrent layers (Mamba, DeltaNet, convolutions) keep, however long the prompt is."""
    forward_only: bool = False
    """Whether there are such layers: their state cannot be rewound to an earlier position in the prompt."""
    hidden: int = 0
    """Size of the hidden state."""
    vocabulary: int = 0
    quantizable: int = 0
    """Parameters that 4-bit loading shrinks (transformers only)."""
    repacked: int = 0
    """Bytes that llama.cpp keeps twice on a processor: as in the file, and repacked for its kernels."""

    def cached(self, window: int) -> int:
        """Return the numbers in the KV cache of a window of this many tokens."""
        return self.cached_numbers * window + self.windowed_numbers * min(window, self.sliding_window + PART)


@dataclass(frozen=True)
class ModelFacts:
    """What a model's files say about it."""

    format: str
    """:data:`GGUF`, :data:`SAFETENSORS`, or :data:`PLUGIN` if an engine of a plugin runs it."""
    architecture: str = ""
    parameters: int = 0
    quantization: str = ""
    """The usual name: ``Q4_K_M``, ``bf16`` …"""
    window: int = 0
    """Context window in tokens, prompt and reply together, as trained; 0 if unknown."""
    weights: int = 0
    """Bytes of all tensors as stored."""
    size: int = 0
    """Bytes on disk."""
    has_template: bool = False
    """Whether it has a chat template; without one the prompt format is guessed from its name."""
    problem: str = ""
    """Why it cannot be the fallback; empty if it can."""
    shape: Shape = Shape()
    title: str = ""
    """The name in its own files."""

    def __post_init__(self) -> None:
        """Make the texts, which come from the file, safe for consoles and pages: one printable line each."""
        for name in ("architecture", "quantization", "problem", "title"):
            object.__setattr__(self, name, printable(getattr(self, name)[:_LONGEST_TEXT]))

    @property
    def usable(self) -> bool:
        return not self.problem
