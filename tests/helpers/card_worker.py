"""The real worker of a machine with a graphics card, of which only the answers are made up: what the driver says is
free, and that everything put on the card fails, as torch says it.

    python card_worker.py FREE_BYTES
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines import transformers_loading
from zwaif_fallback.engines.transformers_loading import TransformersPlan
from zwaif_fallback.hardware import Gpu
from zwaif_fallback.local.model_worker import main

FULL = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB of which 1.0 MiB is free."
)


def pretend(free: int) -> None:
    real = transformers_loading._load

    def load(folder: Path, config: Any, plan: TransformersPlan, options: LoadOptions) -> Any:
        if plan.device.startswith("cuda"):
            raise torch.cuda.OutOfMemoryError(FULL)
        return real(folder, config, plan, options)

    transformers_loading._load = load
    transformers_loading.create_context = lambda device: None
    transformers_loading.gpus_now = lambda: (Gpu("A card", 8_000_000_000, free),)
    transformers_loading.version_of = lambda distribution: (1, 0)
    torch.cuda.is_available = lambda: True
    torch.cuda.device_count = lambda: 1
    torch.cuda.get_device_name = lambda device=None: "A card"
    torch.cuda.get_device_capability = lambda device=None: (8, 6)
    torch.cuda.empty_cache = lambda: None


if __name__ == "__main__":
    pretend(int(sys.argv[1]))
    main()
