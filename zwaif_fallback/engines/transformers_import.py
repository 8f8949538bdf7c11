"""Import only what is needed of transformers. Without a worker on standby, the user waits for this."""

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
    """Import transformers without torch's compiler, which is not used here: saves a fifth of the time and 35 MB
    (transformers 4.50). It would be imported wherever a function is marked as not to be compiled."""
    import torch

    compiler: Any = torch.compiler
    mark = compiler.disable
    compiler.disable = _unmarked
    try:
        from transformers import modeling_utils  # noqa: F401 - its own imports are what this is about
    finally:
        compiler.disable = mark


def classes_for(folder: Path) -> Any:
    """Import the classes of the model in ``folder``, which was checked before; return its configuration."""
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
    """Turn off garbage collection. Modules are never garbage, yet scanning them takes a fifth of the import time, and a
    tenth of a second each time later. What is there at the end is frozen, so it is never scanned again."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _unmarked(function: Callable[..., Any] | None = None, recursive: bool = True, **_: Any) -> Any:
    """Stand in for ``torch.compiler.disable``: without a compiler there is nothing to disable."""
    return function if function is not None else lambda later: later
