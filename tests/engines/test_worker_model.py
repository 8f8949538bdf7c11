"""The whole way once: a real tiny model in a real worker process."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.engines.transformers import TransformersEngine
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.local import memory_needed
from zwaif_fallback.local.memory_needed import fits_now
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.models.memory import LEFT_FREE, TORCH_PROGRAM
from zwaif_hooks.messages import Sampling

pytestmark = pytest.mark.slow

ASK = Generation("<|user|>\nHello 😀</s>\n<|assistant|>\n", max_tokens=40, sampling=Sampling(temperature=0))


def memory_of_children() -> int:
    """Bytes of RAM that the processes below this one hold."""
    held = 0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            held += child.memory_info().rss
    return held


def until(so: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while not so() and time.monotonic() < end:
        time.sleep(0.05)
    return so()


@pytest.fixture
def model() -> Iterator[LocalModel]:
    made = LocalModel()
    yield made
    made.close()


def test_text_through_the_pipe_equals_the_engine_s(
    model: LocalModel, tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_model()
    monkeypatch.chdir(folder.parent)
    options = LoadOptions(folder.name, device="cpu", dtype="float32")
    lines: list[str] = []
    loaded = model.load(options, lines.append)
    assert (loaded.engine, loaded.dtype, loaded.info.context_window) == ("transformers", "float32", 512)
    assert lines[-1].startswith("Loading ")
    engine = TransformersEngine()
    engine.load(options)
    stats = GenerationStats()
    assert "".join(model.generate(ASK, stats)) == "".join(engine.generate(ASK))
    assert model.count_tokens(["Hello there", "😀"]) == engine.count_tokens(["Hello there", "😀"])
    assert stats.prompt_tokens == engine.count_tokens([ASK.prompt])[0]
    again = GenerationStats()
    list(model.generate(ASK, again))
    assert again.reused_tokens == again.prompt_tokens - 1


def test_a_missing_model_raises_its_own_class_here(model: LocalModel) -> None:
    with pytest.raises(ModelNotFound, match="There is no folder"):
        model.load(LoadOptions(os.path.join(os.sep, "nowhere", "at", "all")))  # noqa: PTH118 - as a user writes it
    assert model.state == "failed"


def test_switches_give_the_memory_of_the_old_model_back(model: LocalModel, tiny_model: Callable[..., Path]) -> None:
    before = memory_of_children()
    sizes = []
    for seed in range(3):
        old = model.pid
        model.load(LoadOptions(str(tiny_model(seed=seed)), device="cpu", dtype="float32"))
        assert "".join(model.generate(ASK))
        assert old is None or until(lambda gone=old: not psutil.pid_exists(gone))
        sizes.append(memory_of_children() - before)
    assert sizes[0] > 50_000_000, "a worker with PyTorch in it takes more: what was measured is something else"
    assert sizes[-1] < sizes[0] * 1.2, sizes
    model.close()
    assert until(lambda: memory_of_children() - before < sizes[0] * 0.05)


def test_a_tiny_model_fits_beside_any_other(tiny_model: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    options = LoadOptions(str(tiny_model()), device="cpu")
    assert fits_now(options)
    monkeypatch.setattr(memory_needed, "memory_now", lambda: Memory(1 << 40, LEFT_FREE + TORCH_PROGRAM))
    assert not fits_now(options)
