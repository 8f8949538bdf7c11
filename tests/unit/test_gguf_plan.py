"""What a GGUF file is loaded as, by what is free: headers alone, no library."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.helpers.made_models import LLAMA, write_gguf
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines.gguf_plan import ALL_LAYERS, Card, gguf_fits, make_plan
from zwaif_fallback.errors import ModelError, ModelNotFound, ModelTooBig
from zwaif_fallback.models.memory import GGUF_ON_CARD, GGUF_PROGRAM, GGUF_WORKING, LEFT_ON_CARD
from zwaif_fallback.models.model_files import gguf_in, is_gguf_model, read_facts

PLENTY = 1 << 40
RESERVE = GGUF_ON_CARD + GGUF_WORKING + LEFT_ON_CARD
"""What a card is not filled with: the program's own part and the desktop's."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_gguf(tmp_path / "model.gguf")


def options(file: Path, **more: object) -> LoadOptions:
    return replace(LoadOptions(str(file)), **more)  # type: ignore[arg-type]


def test_the_window_is_the_model_s_up_to_what_is_wished(file: Path, tmp_path: Path) -> None:
    trained = read_facts(file).window
    assert make_plan(options(file), [], PLENTY).window == trained
    assert make_plan(options(file, context_window=1000), [], PLENTY).window == 1000
    assert make_plan(options(file, context_window=10**6), [], PLENTY).window == trained
    huge = write_gguf(tmp_path / "huge.gguf", {**LLAMA, "llama.context_length": 131072})
    assert make_plan(options(huge), [], PLENTY).window == 8192
    assert make_plan(options(huge, context_window=20_000), [], PLENTY).window == 20_000


def test_a_window_too_large_for_the_memory_is_never_asked_for(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "huge.gguf", {**LLAMA, "llama.context_length": 131072})
    facts = read_facts(file)
    token = 2 * facts.shape.cached_numbers
    room = GGUF_PROGRAM + facts.weights + 1100 * token
    plan = make_plan(options(file, context_window=100_000), [], room)
    assert plan.window == 1024
    assert plan.memory_bytes == facts.weights + 1024 * token
    assert plan.notes == (
        "The context window is 1024 tokens instead of 100000: more does not fit into the free memory.",
    )
    for free in (GGUF_PROGRAM + facts.weights + 500 * token, GGUF_PROGRAM, 0):
        with pytest.raises(ModelTooBig, match=r"GB of memory, .* GB are free\. Close other programs"):
            make_plan(options(file), [], free)
        assert not gguf_fits(options(file), free)
    assert gguf_fits(options(file), room) and gguf_fits(options(tmp_path / "gone.gguf"), 0)


def test_all_of_it_on_a_card_where_it_fits(file: Path) -> None:
    plan = make_plan(options(file), [Card("Big Card", PLENTY)], 0)
    assert (plan.gpu_layers, plan.notes) == (ALL_LAYERS, ())
    assert make_plan(options(file, device="cpu"), [Card("Big Card", PLENTY)], PLENTY).gpu_layers == 0


def test_part_of_it_where_it_does_not(tmp_path: Path) -> None:
    file = write_gguf(tmp_path / "many.gguf", {**LLAMA, "llama.block_count": 9})
    facts = read_facts(file)
    whole = facts.weights + 2 * facts.shape.cached_numbers * facts.window
    plan = make_plan(options(file), [Card("One", RESERVE + whole // 4), Card("Two", RESERVE + whole // 4)], PLENTY)
    assert plan.gpu_layers in (4, 5)
    assert plan.notes == (f"{plan.gpu_layers} of 9 layers run on One and Two: more do not fit into its free memory.",)
    full = make_plan(options(file), [Card("Full", RESERVE)], PLENTY)
    assert (full.gpu_layers, full.notes) == (0, ("The model runs on the processor: Full has 0.0 GB free for it.",))


def test_a_card_was_asked_for_and_there_is_none(file: Path) -> None:
    plan = make_plan(options(file, device="cuda"), [], PLENTY)
    assert plan.gpu_layers == 0
    assert plan.notes[0].startswith(
        "API_FALLBACK_DEVICE is cuda, but the installed xllamacpp computes on the processor"
    )
    assert make_plan(options(file), [], PLENTY).notes == ()


def test_which_file_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("GGML")
    assert gguf_in(tmp_path) is None and gguf_in(tmp_path / "notes.txt") is None and gguf_in(tmp_path / "gone") is None
    write_gguf(tmp_path / "mmproj.gguf", {"general.architecture": "clip"})
    assert gguf_in(tmp_path) == tmp_path / "mmproj.gguf"
    first = write_gguf(tmp_path / "Tiny-00001-of-00002.gguf")
    write_gguf(tmp_path / "Tiny-00002-of-00002.gguf")
    assert gguf_in(tmp_path) == first
    write_gguf(tmp_path / "Zwei.gguf")
    with pytest.raises(ModelError, match=r"holds several models \(Tiny-00001-of-00002.gguf, Zwei.gguf\)\. Set API"):
        gguf_in(tmp_path)
    assert is_gguf_model(tmp_path)
    (tmp_path / "model.safetensors").touch()
    assert not is_gguf_model(tmp_path)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"There is no file .*gone\.gguf\. Check that API_FALLBACK_MODEL"):
        read_facts(tmp_path / "gone.gguf")
    (tmp_path / "text.gguf").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match=r"cannot be used: it is not a GGUF file\. Download the model again"):
        read_facts(tmp_path / "text.gguf")
    with pytest.raises(ModelError, match=r"is not complete: .* are there\. Download the model again"):
        read_facts(write_gguf(tmp_path / "cut.gguf", cut=200))
    with pytest.raises(ModelError, match=r"is the vision part of another model .*\. Choose another model"):
        read_facts(write_gguf(tmp_path / "eyes.gguf", {"general.architecture": "clip"}))


def test_a_file_that_may_not_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("zwaif_fallback.models.model_files.gguf_facts_of", refuse)
    with pytest.raises(ModelError, match=r"cannot be read \(Permission denied\)\. Check the disk and who may read"):
        read_facts(file)
