"""Import only what is needed of transformers. Without a worker on standby, the user waits for this."""

from __future__ import annotations

import contextlib
import functools
import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zwaif_fallback.engines.deferred_modules import deferred
from zwaif_fallback.engines.file_repairs import readable

logger = logging.getLogger(__name__)

NOT_RUN = ("torch.distributed.tensor", "transformers.models")
"""Modules that are run only if something in them is used. The first spreads a model over several computers, and imports
sympy. The second imports a package for each of 300 kinds of model; the one that is used is imported by its name."""


def import_torch() -> None:
    """Import torch, which every module here imports late."""
    import torch  # noqa: F401


@functools.cache
def import_transformers() -> None:
    """Import transformers without what is not used here, which takes two thirds of the time: torch's compiler, which
    is imported wherever a function is marked as not to be compiled; distributed computing; and all kinds of models.
    (Measured with transformers 4.50 and torch 2.13; see ``docs/performance.md``.)"""
    import torch

    try:
        with (
            deferred(*NOT_RUN),
            _replaced(torch.compiler, "disable", _unmarked),
            _replaced(torch.distributed, "is_available", lambda: False),
        ):
            from transformers import modeling_utils
    except Exception:  # a version that needs one of these; imported in the ordinary way it may well work
        logger.warning("transformers cannot be imported in part, so all of it is imported", exc_info=True)
        from transformers import modeling_utils  # noqa: F401


def classes_for(folder: Path) -> Any:
    """Import the classes of the model in ``folder``, which was checked before; return its configuration."""
    from transformers import AutoConfig
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING

    with readable(folder) as place:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    model_class(config)
    with contextlib.suppress(KeyError):
        TOKENIZER_MAPPING[type(config)]
    return config


def model_class(config: Any) -> Any:
    """Return the class of a model with this configuration. It is the one that ``AutoModelForCausalLM`` would choose,
    but that imports the configurations of all other kinds first. If the choice is less simple (no class, several, or a
    model with parts for text and pictures), return ``AutoModelForCausalLM`` itself."""
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    found = None
    if not hasattr(config, "text_config"):
        with contextlib.suppress(KeyError):
            found = MODEL_FOR_CAUSAL_LM_MAPPING[type(config)]
    return found if isinstance(found, type) else AutoModelForCausalLM


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Turn off garbage collection. Modules are never garbage, yet scanning them takes a fifth of the import time, and a
    tenth of a second each time later. What is there at the end is frozen, so it is never scanned again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _unmarked(function: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:
    """Stand in for ``torch.compiler.disable``: without a compiler there is nothing to disable."""
    return function if function is not None else lambda later: later
