"""From a model's name to the engine that can run it. A new engine is one more branch here."""

from __future__ import annotations

from zwaif_fallback.engines.base import Engine, LoadOptions
from zwaif_fallback.errors import ModelError


def make_engine(options: LoadOptions) -> Engine:
    """The engine for this model, not loaded yet.

    Raises:
        ModelError: no engine of this version runs such a file.
    """
    if options.model.lower().endswith(".gguf"):
        raise ModelError(
            f"{options.model} is a GGUF file, which this version cannot run yet. Set API_FALLBACK_MODEL to a model "
            "with safetensors weights, for example TinyLlama/TinyLlama-1.1B-Chat-v1.0."
        )
    from zwaif_fallback.engines.transformers import TransformersEngine

    return TransformersEngine()
