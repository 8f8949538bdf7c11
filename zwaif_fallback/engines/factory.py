"""From a model's name to the engine that can run it. A new engine is one more branch here."""

from __future__ import annotations

from pathlib import Path

from zwaif_fallback.engine_types import Engine, LoadOptions
from zwaif_fallback.models.model_files import gguf_in


def is_for_llama_cpp(options: LoadOptions) -> bool:
    """Whether llama.cpp runs this model; transformers everything else.

    Raises:
        ModelError: a folder with several GGUF models, of which none was named.
    """
    return options.model.lower().endswith(".gguf") or gguf_in(Path(options.model)) is not None


def make_engine(options: LoadOptions) -> Engine:
    """The engine for this model, not loaded yet.

    Raises:
        ModelError: as :func:`is_for_llama_cpp`.
    """
    if is_for_llama_cpp(options):
        from zwaif_fallback.engines.gguf import GgufEngine

        return GgufEngine()
    from zwaif_fallback.engines.transformers import TransformersEngine

    return TransformersEngine()
