"""What is known of a model from its files' headers."""

from __future__ import annotations

from dataclasses import dataclass

from zwaif_fallback.models.walk import printable

GGUF, SAFETENSORS = "GGUF", "safetensors"
_LONGEST_TEXT = 300
PART = 512
"""Tokens that llama.cpp keeps beyond a sliding window at most: those that it reads at once."""


@dataclass(frozen=True)
class Shape:
    """What the memory of a model follows from; 0 where its files do not say."""

    layers: int = 0
    cached_numbers: int = 0
    """In the KV cache for each token, all layers together: keys and values of every key-value head."""
    windowed_numbers: int = 0
    """The same in the layers that look back over :attr:`sliding_window` tokens only, and keep no more."""
    sliding_window: int = 0
    state: int = 0
    """Bytes that the other kind of layers keep of all that was read, however long (Mamba, DeltaNet, convolutions)."""
    forward_only: bool = False
    """Whether there are such layers: what they kept of a prompt cannot be taken back to an earlier place in it."""
    hidden: int = 0
    """Width of the model."""
    vocabulary: int = 0
    quantizable: int = 0
    """Parameters that 4-bit loading shrinks (transformers only)."""
    sorted_anew: int = 0
    """Bytes that llama.cpp keeps twice on a processor: as they are in the file, and in the order it computes in."""

    def cached(self, window: int) -> int:
        """Numbers in the cache of a window of so many tokens."""
        return self.cached_numbers * window + self.windowed_numbers * min(window, self.sliding_window + PART)


@dataclass(frozen=True)
class ModelFacts:
    """One model as its files describe it."""

    format: str
    """:data:`GGUF` or :data:`SAFETENSORS`."""
    architecture: str = ""
    parameters: int = 0
    quantization: str = ""
    """As people name it: ``Q4_K_M``, ``bf16`` …"""
    window: int = 0
    """Tokens, prompt and reply together, as trained; 0 where nobody says."""
    weights: int = 0
    """Bytes of all tensors as they are stored."""
    size: int = 0
    """Bytes on the disk."""
    has_template: bool = False
    """Whether it brings a chat template; without one the prompt format is guessed from its name."""
    problem: str = ""
    """Why it cannot be the fallback; empty when it can."""
    shape: Shape = Shape()
    title: str = ""
    """The name it gives itself."""

    def __post_init__(self) -> None:
        """Texts are from the file: one line each, that no console or page takes for something else."""
        for name in ("architecture", "quantization", "problem", "title"):
            object.__setattr__(self, name, printable(getattr(self, name)[:_LONGEST_TEXT]))

    @property
    def usable(self) -> bool:
        return not self.problem
