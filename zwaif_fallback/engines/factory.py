"""Choose the engine for a model. A new engine is one more branch here."""

from __future__ import annotations

from pathlib import Path

from zwaif_fallback.engine_types import Engine, LoadOptions
from zwaif_fallback.models.model_files import gguf_in


def is_for_llama_cpp(options: LoadOptions) -> bool:
    """Return whether llama.cpp runs this model; transformers runs all others.

    Raises:
        ModelError: a folder with several GGUF models, none of which was named.
    """
    return options.model.lower().endswith(".gguf") or gguf_in(Path(options.model)) is not None


def make_engine(options: LoadOptions) -> Engine:
    """Return the engine for this model, not loaded yet.

    Raises:
        ModelError: as :func:`is_for_llama_cpp`.
    """
    if is_for_llama_cpp(options):
        from zwaif_fallback.engines.gguf import GgufEngine

        return GgufEngine()
    from zwaif_fallback.engines.transformers import TransformersEngine

    return TransformersEngine()
