"""How much memory a model needs, estimated from its files, and whether that is free."""

from __future__ import annotations

import logging

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.hardware import memory_now
from zwaif_fallback.local.model_files import location

logger = logging.getLogger(__name__)

FILE_OVERHEAD = 1.2
"""Memory of a loaded GGUF file, as a multiple of its size."""
DEFAULT_WINDOW = 2048
"""Tokens of context assumed where no limit is set."""


def bytes_needed(options: LoadOptions, on_card: bool) -> int | None:
    """Estimate the memory that the model takes, in bytes; None if its files do not say."""
    from zwaif_fallback.models.memory import RUNTIME_BYTES, estimate_memory  # late: Z-Waif's start-up waits for this

    path = location(options)
    if path is None:
        return None
    four_bit = "4bit" if on_card and options.quantization != "none" else ""
    try:
        if path.is_file():
            return int(path.stat().st_size * FILE_OVERHEAD) + RUNTIME_BYTES
        return estimate_memory(
            path, quantization=four_bit, context_window=options.context_window or DEFAULT_WINDOW
        ).total
    except (OSError, ValueError, KeyError) as error:
        logger.debug("The size of %s is unknown: %s", options.model, error)
        return None


def fits_now(options: LoadOptions) -> bool:
    """Whether the model fits into the memory that is free now; True if its size is unknown."""
    from zwaif_fallback.engines.gguf_plan import gguf_fits  # late, as above
    from zwaif_fallback.models.model_files import is_gguf_model

    path = location(options)
    if path is None:
        return True
    memory = memory_now()
    if is_gguf_model(path):
        return gguf_fits(options, memory.ram_free)
    gpu = memory.best_gpu if options.device == "auto" or options.device.startswith("cuda") else None
    needed = bytes_needed(options, on_card=gpu is not None)
    return needed is None or needed <= (gpu.free if gpu is not None else memory.ram_free)
