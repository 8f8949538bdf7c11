"""A real captioning model in a real process, and what is made of its sentence."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers.loopback_hub import running_hub
from tests.helpers.vision_models import WORDS, in_base64, make_captioner, make_untrained, square
from zwaif_fallback.downloads.download import HuggingFace, download
from zwaif_fallback.errors import EngineError, ModelError
from zwaif_fallback.pictures import vision_engine
from zwaif_fallback.pictures.captioner import PictureCaptioner
from zwaif_hooks.messages import ChatRequest, Message, Picture, Purpose

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]
PATIENT = 120.0
"""Seconds: the machine may be busy, and torch is imported first."""


@pytest.fixture(scope="module")
def captioner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_captioner(tmp_path_factory.mktemp("captioner"))


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def sight(told: list[str]) -> Iterator[PictureCaptioner]:
    """One process for all that may share one."""
    made = PictureCaptioner(lambda line, error: told.append(line), PATIENT, idle=PATIENT)
    yield made
    made.close()


def test_red_is_told_from_blue_in_a_process_of_its_own(
    sight: PictureCaptioner, captioner: Path, tmp_path: Path
) -> None:
    assert sight.describe(in_base64(square("red")), str(captioner)) == "a red square on white"
    first = sight.pid
    file = tmp_path / "LiveImage.png"
    file.write_bytes(square("blue", "JPEG"))
    assert sight.describe(Picture(path=str(file)), str(captioner)) == "a blue square on white"
    assert sight.pid == first, "the model stays loaded for the next picture"


def test_a_downloaded_one_is_found_by_its_name(
    captioner: Path, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, name = tmp_path / "cache", "someone/captions"
    with running_hub(name, {path.name: path.read_bytes() for path in captioner.iterdir()}) as hub:
        source = HuggingFace(hub.address, str(cache), wait=lambda seconds: None)
        download(name, told.append, source, cache_dir=str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    look = PictureCaptioner(lambda line, error: told.append(line), PATIENT, idle=PATIENT)
    try:
        assert look.describe(in_base64(square("red")), name) == "a red square on white"
    finally:
        look.close()


def test_the_picture_becomes_a_line_of_the_conversation(sight: PictureCaptioner, captioner: Path) -> None:
    asked = ChatRequest(
        "oobabooga", (Message("user", "What is this?"),), has_image=True, purpose=Purpose.IMAGE,
        picture=in_base64(square("red")),
    )  # fmt: skip
    shown = sight.describe_in(asked, str(captioner))
    assert shown.messages[-1].content == "What is this?\n[The picture shows: a red square on white]"
    assert not shown.has_image


def test_a_broken_picture_costs_a_line_and_not_the_process(
    sight: PictureCaptioner, captioner: Path, told: list[str]
) -> None:
    asked = ChatRequest("oobabooga", (Message("user", "Look"),), has_image=True, picture=in_base64(b"no picture"))
    told.clear()
    assert sight.describe_in(asked, str(captioner)) is asked
    assert "The picture cannot be read (it is none of PNG, JPEG, WEBP, GIF, BMP)" in told[0]
    cut = in_base64(square("red", side=200)[:-100])
    assert sight.describe_in(ChatRequest("ollama", (), has_image=True, picture=cut), str(captioner)).has_image
    assert sight.describe(in_base64(square("blue")), str(captioner)) == "a blue square on white"


def test_a_killed_process_is_started_again(sight: PictureCaptioner, captioner: Path) -> None:
    sight.describe(in_base64(square("red")), str(captioner))
    assert sight.pid is not None
    process = psutil.Process(sight.pid)
    process.kill()
    process.wait(10)
    assert sight.describe(in_base64(square("blue")), str(captioner)) == "a blue square on white"


def test_a_model_of_another_kind_is_refused(sight: PictureCaptioner, captioner: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(captioner, other)
    (other / "config.json").write_text('{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}')
    with pytest.raises(ModelError, match="cannot describe pictures here"):
        sight.describe(in_base64(square("red")), str(other))
    assert sight.pid is None, "a process without a model is ended"


def test_code_of_a_model_is_not_run(sight: PictureCaptioner, captioner: Path, tmp_path: Path) -> None:
    other = tmp_path / "code"
    shutil.copytree(captioner, other)
    (other / "config.json").write_text('{"model_type": "mine", "auto_map": {"AutoConfig": "mine.Mine"}}')
    (other / "mine.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError):
        sight.describe(in_base64(square("red")), str(other))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["git", "vision-encoder-decoder"])
def test_other_kinds_of_captioning_models_are_run(kind: str, tmp_path: Path) -> None:
    engine = vision_engine.VisionEngine()
    engine.load(str(make_untrained(tmp_path, kind)), "untrained")
    assert set(engine.describe(square("red")).split()) <= set(WORDS)


def test_a_model_that_wants_a_question_is_refused(tmp_path: Path) -> None:
    from transformers import LlavaConfig

    LlavaConfig().save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="it is of the kind llava"):
        vision_engine.VisionEngine().load(str(tmp_path), "owner/llava")


def test_the_process_ends_when_no_picture_comes(captioner: Path) -> None:
    sight = PictureCaptioner(lambda line, error: None, PATIENT, idle=0.2)
    try:
        sight.describe(in_base64(square("red")), str(captioner))
        deadline = time.monotonic() + 20
        while sight.pid is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sight.pid is None
    finally:
        sight.close()


def test_a_picture_that_unpacks_to_too_much_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_engine, "MOST_PIXELS", 1000)
    with pytest.raises(EngineError, match="too large to unpack"):
        vision_engine.opened(square("red"))


def test_a_decompression_bomb_is_refused() -> None:
    bomb = bytearray(square("red"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2  # the header's width and height
    with pytest.raises(EngineError):
        vision_engine.opened(bytes(bomb))
