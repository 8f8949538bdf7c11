"""What is known of a model from its files' headers."""

from __future__ import annotations

from dataclasses import dataclass

from zwaif_fallback.models.walk import printable

GGUF, SAFETENSORS = "GGUF", "safetensors"
_LONGEST_TEXT = 300


@dataclass(frozen=True)
class Shape:
    """What the memory of a model follows from; 0 where its files do not say."""

    layers: int = 0
    cached_numbers: int = 0
    """In the KV cache for each token, all layers together: keys and values of every key-value head."""
    hidden: int = 0
    """Width of the model."""
    vocabulary: int = 0
    quantizable: int = 0
    """Parameters that 4-bit loading shrinks (transformers only)."""
    sorted_anew: int = 0
    """Bytes that llama.cpp keeps twice on a processor: as they are in the file, and in the order it computes in."""


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
