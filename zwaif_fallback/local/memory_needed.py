"""How much memory a model needs, computed from its files, and whether that is free."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.hardware import cpu_dtype, memory_now
from zwaif_fallback.local.model_files import location

if TYPE_CHECKING:
    from zwaif_fallback.models.facts import ModelFacts

logger = logging.getLogger(__name__)


def bytes_needed(options: LoadOptions, on_card: bool) -> int | None:
    """Return the memory that the model takes, in bytes; None if its files, or its plugin, do not say."""
    from zwaif_fallback.models import plugin_engines  # late: Z-Waif's start-up waits for this
    from zwaif_fallback.models.memory import Plan, need, planned_window

    if (declared := plugin_engines.find(options.model)) is not None:
        return declared.model.memory_bytes or None
    facts = _facts(options)
    if facts is None or not facts.parameters:
        return None
    plan = Plan("cuda", bits=0 if options.quantization == "none" else 4) if on_card else Plan("cpu", cpu_dtype())
    return need(facts, plan, planned_window(facts, options.context_window)).total


def fits_now(options: LoadOptions) -> bool:
    """Whether the model fits into the memory that is free now; True if its size is unknown."""
    from zwaif_fallback.engines.gguf_plan import gguf_fits  # late, as above
    from zwaif_fallback.models.memory import LEFT_FREE, usable
    from zwaif_fallback.models.model_files import is_gguf_model

    path = location(options)
    if path is None:
        return True
    memory = memory_now()
    if is_gguf_model(path):
        return gguf_fits(options, memory.ram_free)
    gpu = memory.best_gpu if options.device == "auto" or options.device.startswith("cuda") else None
    needed = bytes_needed(options, on_card=gpu is not None)
    return needed is None or needed <= (usable(gpu.free) if gpu is not None else memory.ram_free - LEFT_FREE)


def _facts(options: LoadOptions) -> ModelFacts | None:
    from zwaif_fallback.errors import ModelError  # late, as above
    from zwaif_fallback.models.model_files import gguf_in, read_facts
    from zwaif_fallback.models.safetensors_facts import read_folder

    place = location(options)
    if place is None:
        return None
    try:
        file = gguf_in(place)
        return read_facts(file) if file else read_folder(place)
    except (OSError, ValueError, ModelError) as error:
        logger.debug("The size of %s is unknown: %s", options.model, error)
        return None
