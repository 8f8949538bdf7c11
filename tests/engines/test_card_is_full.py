"""The server has died, and its card is full: how long until the local model answers, and what the user is told."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers import HELPERS
from zwaif_fallback.engine_types import Generation, LoadedModel, LoadOptions
from zwaif_fallback.local.model import LocalModel
from zwaif_hooks.messages import Sampling

pytestmark = pytest.mark.slow

GB = 1_000_000_000
ASK = Generation("Hello", max_tokens=4, sampling=Sampling(temperature=0))
SECONDS = 3.0


def taken_over(folder: Path, free: int) -> tuple[LoadedModel, list[str], float]:
    """Load into a worker that stands by, as in an outage: the model, the lines meanwhile, seconds to the first text."""
    command = (sys.executable, str(HELPERS / "card_worker.py"), str(free))
    model, options, lines = LocalModel(command=command), LoadOptions(str(folder)), list[str]()
    try:
        model.stand_by(options)
        stands = model.standing_by
        began = time.monotonic()
        loaded = model.load(options, lines.append)
        assert next(iter(model.generate(ASK)))
        seconds = time.monotonic() - began
        assert model.pid == stands is not None, "no second worker"
    finally:
        model.close()
    return loaded, lines, seconds


def test_a_full_card_is_not_tried(tiny_model: Callable[..., Path]) -> None:
    loaded, lines, seconds = taken_over(tiny_model(), free=GB // 2)
    assert loaded.device == "cpu"
    assert loaded.notes[0] == "The model runs on the processor: the graphics card has 0.0 GB free for it."
    assert not any("on cuda" in line for line in lines)
    assert seconds < SECONDS, lines


def test_a_card_that_fills_up_meanwhile_costs_one_attempt_for_each_size(tiny_model: Callable[..., Path]) -> None:
    loaded, lines, seconds = taken_over(tiny_model(), free=6 * GB)
    assert loaded.device == "cpu"
    tried = [line.partition("(")[2].partition(")")[0] for line in lines if line.startswith("Loading ")]
    assert tried == ["bfloat16 on cuda", "4-bit on cuda", tried[-1]] and tried[-1].endswith(" on cpu")
    assert loaded.notes == (
        "The graphics card is full; loading it as 4-bit on cuda.",
        f"The graphics card is full; loading it as {tried[-1]}.",
    )
    assert seconds < SECONDS, lines
