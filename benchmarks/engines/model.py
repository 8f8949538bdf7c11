"""A model of random weights that always writes whole words and never ends by itself."""

from __future__ import annotations

from pathlib import Path

from benchmarks.prefix import model

FIRST_WORD, LAST_WORD = 260, 500
"""Ids of the tokenizer that are several letters each: behind the special tokens and the single bytes."""


def make(folder: Path, size: str) -> Path:
    """Write the model of ``benchmarks.prefix``, its output head silent for everything but words."""
    from safetensors.torch import load_file, save_file

    model.make(folder, size)
    file = folder / "model.safetensors"
    weights = load_file(file)
    head = weights["lm_head.weight"].clone()
    head[:FIRST_WORD] = head[LAST_WORD:] = 0
    save_file({**weights, "lm_head.weight": head}, folder / "new", metadata={"format": "pt"})
    (folder / "new").replace(file)
    return folder
