"""The interface of an engine, which turns one finished prompt into text. It knows neither conversations nor Z-Waif."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ModelInfo, Sampling


@dataclass(frozen=True)
class LoadOptions:
    """What to load and how."""

    model: str
    """Hub id, or path of a folder with safetensors weights or of a GGUF file."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    quantization: str = "auto"
    """``auto`` (what hardware, versions and free memory allow), ``4bit``, ``none``."""
    context_window: int = 0
    """Upper limit in tokens, prompt and reply together; 0 for the model's own."""
    threads: int = 0
    """CPU threads; 0 for the engine's choice."""
    cache_dir: str = ""
    """Folder of downloaded models; empty for the Hugging Face default."""
    dtype: str = "auto"
    """``auto`` (the best for the device), ``float32``, ``bfloat16``, ``float16``."""
    llama_server: str = "off"
    """Another llama.cpp server for the card, see :func:`zwaif_fallback.llama_servers.find`."""

    @classmethod
    def from_settings(cls, setting: Callable[[str], Any], model: str) -> LoadOptions:
        """Return how the settings want ``model`` to be loaded; ``setting`` returns a setting's value."""
        return cls(
            model=model,
            device=str(setting("API_FALLBACK_DEVICE")),
            quantization=str(setting("API_FALLBACK_QUANTIZATION")),
            context_window=int(setting("API_FALLBACK_CONTEXT_WINDOW")),
            threads=int(setting("API_FALLBACK_THREADS")),
            llama_server=str(setting("API_FALLBACK_LLAMA_SERVER")),
        )


@dataclass(frozen=True)
class LoadedModel:
    """A loaded model: data for prompts, the status line and the model list."""

    info: ModelInfo
    engine: str
    """``transformers`` or ``gguf``."""
    device: str = "cpu"
    dtype: str = ""
    quantization: str = ""
    """Empty if the weights are as published."""
    memory_bytes: int = 0
    """Bytes of the weights."""
    title: str = ""
    """The name in its own files."""
    parameters: int = 0
    """From the files; 0 if unknown."""
    advice: Sampling = field(default_factory=Sampling)
    """Sampling from the model's own files; empty if they say nothing or turn sampling off."""
    load_seconds: float = 0.0
    load_steps: Mapping[str, float] = field(default_factory=dict, hash=False)
    """Seconds of each step, in order. Starting the process and the first token are added outside the engine."""
    notes: tuple[str, ...] = ()
    """One line for the user about each fallback step taken while loading."""


@dataclass(frozen=True)
class Generation:
    """One finished prompt and how to continue it."""

    prompt: str
    """In the model's format, special tokens included as text; none are added."""
    max_tokens: int = DEFAULT_MAX_TOKENS
    """0 only reads the prompt, which makes a later reply to a longer prompt start sooner."""
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    favoured: tuple[str, ...] = ()
    """Words to make likelier, such as those that the user's question is about."""
    favour: float = 2.0
    """Added to their scores. 3 causes loops, 1 has little effect."""
    heal: int = 0
    """Number of characters at the end of ``prompt`` that belong to the reply, cut anywhere. An engine that supports it
    regenerates the last word, constrained to the same letters, so that a cut word continues as one."""


@dataclass
class GenerationStats:
    """Filled in while a generation runs."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Prompt tokens that were already in the KV cache."""
    prefilled_tokens: int = 0
    """Prompt tokens read so far, including reused ones; grows while a long prompt is read."""
    generated_tokens: int = 0
    finish_reason: str = ""
    """``stop`` (end token or stop string), ``length`` or ``cancelled``."""


class Engine(Protocol):
    """One model, loaded or to be loaded. Used by one thread at a time, except ``cancel`` and ``count_tokens``, which
    may be called while another thread generates."""

    def prepare(self, options: LoadOptions) -> None:
        """Import what loading this model needs, without loading it. The load itself reports any error."""

    def load(self, options: LoadOptions, progress: Callable[[str], None] = ...) -> LoadedModel:
        """Load the model. ``progress`` gets lines for the user.

        Raises:
            ModelError: the text says what to do.
        """

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens in each text, without special tokens."""

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        """Yield text as it is generated: whole characters only, never part of a stop string.

        The first piece may begin with a space if the prompt continues that way. Closing the iterator stops the
        generation within one token.
        """

    def cancel(self) -> None:
        """Stop the running generation within one token; callable from any thread."""

    def unload(self) -> None:
        """Release all memory (``torch.cuda.empty_cache`` included)."""
