"""What every engine can do. An engine turns one finished prompt into text; it knows no conversation and no Z-Waif."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ModelInfo, Sampling


@dataclass(frozen=True)
class LoadOptions:
    """What to load and how."""

    model: str
    """Hub id, or path of a folder with safetensors weights."""
    device: str = "auto"
    """``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``."""
    quantization: str = "auto"
    """``auto`` (4-bit where hardware and versions allow), ``4bit``, ``none``."""
    context_window: int = 0
    """Upper limit in tokens, prompt and reply together; 0 takes the model's own."""
    threads: int = 0
    """CPU threads; 0 lets the engine choose."""
    cache_dir: str = ""
    """Where downloaded models lie; empty for the Hugging Face default."""
    dtype: str = "auto"
    """``auto`` (the best this device can do), ``float32``, ``bfloat16``, ``float16``."""


@dataclass(frozen=True)
class LoadedModel:
    """What came of loading: data for prompts, for the status line and for the model list."""

    info: ModelInfo
    engine: str
    """``transformers`` or ``gguf``."""
    device: str = "cpu"
    dtype: str = ""
    quantization: str = ""
    """Empty when the weights are as they were published."""
    memory_bytes: int = 0
    """What the weights take, in bytes."""
    title: str = ""
    """The name it gives itself."""
    parameters: int = 0
    """As the files have them; 0 where nobody says."""
    advice: Sampling = field(default_factory=Sampling)
    """How the model's own files would pick words; empty where they do not sample, or do not say."""
    load_seconds: float = 0.0
    notes: tuple[str, ...] = ()
    """Each step down that was taken, one line a user can read."""


@dataclass(frozen=True)
class Generation:
    """One finished prompt and how to go on from it."""

    prompt: str
    """Already in the model's format; special tokens are spelt out in it, none are added."""
    max_tokens: int = DEFAULT_MAX_TOKENS
    """0 only reads the prompt, so that a reply to one that begins with it comes sooner."""
    stop: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    favoured: tuple[str, ...] = ()
    """Words that are to be likelier than the model finds them: what is asked about, told to a small one."""
    favour: float = 2.0
    """Added to their scores. With 3 loops begin, with 1 little happens."""
    heal: int = 0
    """How many characters at the end of ``prompt`` are the beginning of the reply, cut anywhere. An engine that can
    writes the last word of them again, letter by letter the same, so that half a word is gone on with as one."""


@dataclass
class GenerationStats:
    """Filled in while a generation runs."""

    prompt_tokens: int = 0
    reused_tokens: int = 0
    """Prompt tokens whose KV cache was already there."""
    prefilled_tokens: int = 0
    """Prompt tokens read so far, reused ones included: grows while a long prompt is being read."""
    generated_tokens: int = 0
    finish_reason: str = ""
    """``stop`` (end token or stop string), ``length`` or ``cancelled``."""


class Engine(Protocol):
    """One loaded model (or the promise of one). Used by one thread at a time, except ``cancel`` and
    ``count_tokens``, which may be called while another thread generates."""

    def prepare(self, options: LoadOptions) -> None:
        """Import what a load of this model needs, and load nothing. Whatever it raises, the load itself will tell."""

    def load(self, options: LoadOptions, progress: Callable[[str], None] = ...) -> LoadedModel:
        """Load the model. ``progress`` gets lines for the user.

        Raises:
            ModelError: with the exact remedy in its text.
        """

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, without special tokens."""

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        """Text pieces as they are made: whole characters only, never any part of a stop string.

        The first piece may begin with a space, where that is how the prompt goes on.
        Closing the iterator stops the generation within one token.
        """

    def cancel(self) -> None:
        """From any thread: end the running generation within one token."""

    def unload(self) -> None:
        """Give all memory back (``torch.cuda.empty_cache`` included)."""
