"""Importing transformers: only what is used of it. Where nothing stands by, somebody waits for this."""

from __future__ import annotations

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zwaif_fallback.engines.file_repairs import readable


@functools.cache
def transformers_without_compiler() -> None:
    """Import transformers so that torch's compiler stays out, which nothing here uses: a fifth of the seconds and 35 MB
    (transformers 4.50). It comes in where a function is marked as none to be compiled."""
    import torch

    compiler: Any = torch.compiler
    mark = compiler.disable
    compiler.disable = _unmarked
    try:
        from transformers import modeling_utils  # noqa: F401 - its own imports are what this is about
    finally:
        compiler.disable = mark


def classes_for(folder: Path) -> Any:
    """Import the classes of the model in ``folder``, which was checked; its configuration."""
    from transformers import AutoConfig
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING

    with readable(folder) as place:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    for classes in (MODEL_FOR_CAUSAL_LM_MAPPING, TOKENIZER_MAPPING):
        if type(config) in classes.keys():  # noqa: SIM118 - as AutoModel asks: this imports every configuration
            classes[type(config)]
    return config


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without looking for garbage: modules are none, and to look through them takes a fifth of the time, and later a
    tenth of a second each time. What is there in the end is never looked through again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _unmarked(function: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:
    """In place of ``torch.compiler.disable``: there is no compiler to keep off."""
    return function if function is not None else lambda later: later
