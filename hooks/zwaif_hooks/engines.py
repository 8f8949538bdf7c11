"""Engines of plugins: what a plugin declares in ``register_engines``, and what its engine can do.

Z-Waif's process only reads the declaration. The engine is made in the worker process that holds the local model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zwaif_hooks.messages import ModelInfo, Sampling

_NAME = re.compile(r"[a-z][a-z0-9_-]+")
_FACTORY = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_TAKEN = ("gguf", "lmstudio", "ollama", "transformers")


@dataclass(frozen=True)
class EngineModel:
    """One model that an engine can load.

    Raises:
        ValueError: the name cannot be written as a setting.
    """

    name: str
    """Its name within the engine: ``tiny``, if the user is to write ``echo:tiny``."""
    memory_bytes: int = 0
    """Main memory that it takes once it is loaded; 0 if unknown. A model of unknown size is loaded when a reply needs
    it, and never ahead of time."""
    context_window: int = 0
    """Tokens, for the lists of models; 0 if unknown."""

    def __post_init__(self) -> None:
        if not self.name or not self.name.isprintable() or self.name != self.name.strip():
            raise ValueError(f"EngineModel {self.name!r}: a name is printable text without spaces around it")


@dataclass(frozen=True)
class EngineSpec:
    """An engine, and the models that it can load now.

    Raises:
        ValueError: a name is not allowed.
    """

    name: str
    """Beginning of its models' names, at least two characters: ``echo`` in ``echo:tiny``."""
    models: Sequence[EngineModel]
    factory: str
    """``package.module:callable`` of this plugin. Imported in the worker process and called without arguments; returns
    an :class:`Engine`."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in _TAKEN:
            raise ValueError(
                f"EngineSpec {self.name!r}: a name has lower-case letters, digits, - and _, begins with a letter, has "
                f"at least two characters, and is not one of {', '.join(_TAKEN)}"
            )
        if not _FACTORY.fullmatch(self.factory):
            raise ValueError(f"EngineSpec {self.name!r}: {self.factory!r} is not of the form package.module:callable")
        if not all(isinstance(model, EngineModel) for model in self.models):
            raise ValueError(f"EngineSpec {self.name!r}: its models are not all EngineModel")


@dataclass(frozen=True)
class EngineOptions:
    """What an engine loads, and how."""

    model: str
    """An :attr:`EngineModel.name`."""
    device: str = "auto"
    """``API_FALLBACK_DEVICE``: ``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``mps``."""
    context_window: int = 0
    """Upper limit in tokens, prompt and reply together; 0 for the model's own."""
    threads: int = 0
    """Processor threads; 0 for the engine's choice."""


@dataclass(frozen=True)
class EnginePrompt:
    """One finished prompt, and how to continue it."""

    text: str
    """In the model's format, with special tokens as text."""
    max_tokens: int
    stop: tuple[str, ...] = ()
    """Texts that end the reply. They are also cut from what the engine yields, so it may ignore them."""
    sampling: Sampling = field(default_factory=Sampling)


class Engine(Protocol):
    """An engine of a plugin, in the worker process. Any exception is reported with the plugin's name.

    One thread loads and generates; ``count_tokens`` may be called from another one at the same time.
    """

    def load(self, options: EngineOptions) -> ModelInfo:
        """Load a model and return what is known about it.

        ``chat_template`` or ``family`` and ``context_window`` decide how prompts are written; ``name`` is replaced by
        the name that the user knows.
        """

    def count_tokens(self, text: str) -> int:
        """Return the number of tokens in a text, without special tokens."""

    def generate(self, prompt: EnginePrompt) -> Iterator[str]:
        """Yield what follows the prompt, as it is generated: whole characters only.

        The iterator is closed when the reply is cancelled or a stop text was found, but only between two pieces: yield
        often. An empty piece only says that the engine is at work. One that yields nothing for
        ``API_FALLBACK_ENGINE_TIMEOUT`` seconds is ended with its process.
        """
