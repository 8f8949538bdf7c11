"""Whether and where the local model may be loaded while the primary works."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.made_models import write_gguf
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.hardware import Gpu, Memory
from zwaif_fallback.local import memory_needed
from zwaif_fallback.local.preload_policy import GIB, Place, place_for, spare
from zwaif_fallback.models.memory import GGUF_ON_CARD, GGUF_PROGRAM, Plan, need, planned_window
from zwaif_fallback.models.model_files import read_facts

AUTO = LoadOptions("model")
ROOMY = Memory(32 * GIB, 20 * GIB)
CARD = replace(ROOMY, gpus=(Gpu("a card", 24 * GIB, 20 * GIB),))
FULL_CARD = replace(ROOMY, gpus=(Gpu("a card", 24 * GIB, 2 * GIB),))


def three_gib(options: LoadOptions, on_card: bool) -> int | None:
    return 3 * GIB


@pytest.mark.parametrize(
    ("device", "primary_is_here", "memory", "place"),
    [
        ("auto", True, ROOMY, "auto"),
        ("auto", True, CARD, "cpu"),  # the primary may want all of the card later
        ("auto", False, CARD, "auto"),
        ("auto", False, FULL_CARD, "cpu"),
        ("cuda", True, CARD, "cuda"),  # the user said so
        ("cuda:1", True, CARD, "cuda:1"),
        ("cuda", True, FULL_CARD, ""),
        ("cpu", True, CARD, "cpu"),
        ("auto", True, Memory(16 * GIB, 5 * GIB), ""),
        ("auto", True, Memory(16 * GIB, 6 * GIB), "auto"),
    ],
)
def test_place(device: str, primary_is_here: bool, memory: Memory, place: str) -> None:
    found = place_for(replace(AUTO, device=device), primary_is_here, memory, three_gib)
    assert found.device == place
    assert bool(found.why_not) is not bool(place)


def test_the_reason_names_the_memory_in_figures() -> None:
    found = place_for(AUTO, True, Memory(16 * GIB, 4 * GIB), three_gib)
    assert found == Place(why_not="it takes 3.2 GB and 4.3 GB are free")


def test_a_model_of_unknown_size_is_not_loaded() -> None:
    assert place_for(AUTO, True, ROOMY, lambda options, on_card: None).device == ""


def test_a_share_of_the_memory_but_at_least_two_gib_stays_free() -> None:
    assert spare(Memory(8 * GIB, GIB)) == 2 * GIB
    assert spare(Memory(64 * GIB, GIB)) == int(64 * GIB * 0.15)


def test_bytes_needed_follow_from_the_files(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "model.gguf")
    facts = read_facts(file)
    on_cpu = memory_needed.bytes_needed(LoadOptions(str(file)), False)
    assert on_cpu == need(facts, Plan("cpu"), planned_window(facts)).total
    assert memory_needed.bytes_needed(LoadOptions(str(file)), True) == on_cpu - GGUF_PROGRAM + GGUF_ON_CARD
    (tmp_path / "empty").mkdir()
    assert memory_needed.bytes_needed(LoadOptions(str(tmp_path / "empty")), False) is None, "a folder without a model"
    assert memory_needed.bytes_needed(LoadOptions("owner/not-here", cache_dir=str(tmp_path)), False) is None
