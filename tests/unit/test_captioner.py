"""Pictures described in words; if that fails in any way, the request stays as it was."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers import HELPERS
from tests.helpers.scenes import REFUSED
from tests.helpers.waiting import wait_until
from tests.unit.test_service import Desk
from zwaif_fallback.pictures import captioner
from zwaif_fallback.pictures.captioner import PictureCaptioner
from zwaif_fallback.prompt import fit_to_window
from zwaif_hooks.messages import ChatRequest, Message, ModelInfo, Picture, Purpose

COMMAND = (sys.executable, str(HELPERS / "scripted_vision_worker.py"))
PATIENT = 30.0
LOOK = "Mia, please look at this image and say what is in it: \n"


def picture(data: bytes) -> Picture:
    return Picture(base64=base64.b64encode(data).decode())


def shown(data: bytes, text: str = LOOK) -> ChatRequest:
    return ChatRequest(
        "oobabooga", (Message("user", text),), has_image=True, picture=picture(data), purpose=Purpose.IMAGE
    )


class Scene:
    """Captioners, the folders of their models, and the lines that were reported."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.told, self.errors, self.made = folder, list[str](), list[object](), list[PictureCaptioner]()

    def model(self, name: str = "fine") -> str:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text('{"model_type": "blip"}', encoding="utf-8")
        (place / "model.safetensors").write_bytes(b"\x02" + b"\0" * 7 + b"{}")
        (place / "tokenizer.json").touch()
        return str(place)

    def captioner(self, patience: float = PATIENT, idle: float = PATIENT) -> PictureCaptioner:
        self.made.append(PictureCaptioner(self.report, patience, idle, COMMAND))
        return self.made[-1]

    def report(self, line: str, error: BaseException | None) -> None:
        self.told.append(line)
        self.errors.append(error)

    def close(self) -> None:
        for made in self.made:
            made.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    made.close()


def count(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


# --- what is told -----------------------------------------------------------------------------------------------------


def test_the_description_replaces_the_picture(scene: Scene) -> None:
    told = scene.captioner().describe_in(shown(b"a red square\non white"), scene.model())
    newest = fit_to_window.fit(told, ModelInfo("tiny", "tinyllama"), count).messages[-1].content  # type: ignore[arg-type]
    assert newest == f"{LOOK.strip()}\n[The picture shows: a red square on white]"
    assert told.picture is None
    assert told.purpose is Purpose.IMAGE
    assert scene.told == []


def test_a_picture_without_a_message_or_after_the_companions_own(scene: Scene) -> None:
    assert captioner.with_description(shown(b"", ""), "a cat").messages == (
        Message("user", "[The picture shows: a cat]"),
    )
    spoke = ChatRequest("ollama", (Message("assistant", "Hi"),), has_image=True)
    assert captioner.with_description(spoke, "a cat").messages[1:] == (Message("user", "[The picture shows: a cat]"),)
    assert len(captioner.with_description(ChatRequest("ollama", ()), "a cat").messages) == 1


def test_a_picture_is_read_from_its_file(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "LiveImage.png"
    file.write_bytes(b"a fox")
    assert scene.captioner().describe(Picture(path=str(file)), scene.model()) == "a fox"


# --- what fails -------------------------------------------------------------------------------------------------------


def fails(scene: Scene, look: PictureCaptioner, data: bytes, model: str) -> str:
    """One line was said, and the request is as it was: the local model is told that it cannot see."""
    scene.told.clear()
    request = shown(data)
    assert look.describe_in(request, model) is request
    assert "cannot see pictures" in fit_to_window.fit(request, ModelInfo("x"), count).messages[-1].content  # type: ignore[arg-type]
    assert len(scene.told) == 1 and isinstance(scene.errors[-1], Exception)
    return scene.told[0]


def test_a_missing_model_names_the_remedy(scene: Scene) -> None:
    line = fails(scene, scene.captioner(), b"a cat", "someone/absent")
    assert line.startswith("The picture could not be described, and the companion says so: ")
    assert "zwaif-fallback download Salesforce/blip-image-captioning-large" in line


def test_pickled_weights_are_not_loaded(scene: Scene) -> None:
    model = Path(scene.model())
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    assert "Pickled weights are never loaded" in fails(scene, scene.captioner(), b"a cat", str(model))


def test_a_model_that_does_not_fit_into_memory_is_refused(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioner, "memory_now", lambda: SimpleNamespace(ram_free=300_000_000))
    look = scene.captioner()
    assert "needs 0.4 GB of memory for pictures, and 0.3 GB are free" in fails(scene, look, b"x", scene.model())
    assert look.pid is None


def test_the_process_of_a_model_that_cannot_be_loaded_is_ended(scene: Scene) -> None:
    look = scene.captioner()
    assert "is broken. Choose another." in fails(scene, look, b"a cat", scene.model("broken"))
    assert look.pid is None
    assert look.describe(picture(b"a cat"), scene.model()) == "a cat"


def test_a_model_that_cannot_be_loaded_is_not_tried_with_every_picture(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    look, model = scene.captioner(), scene.model("broken")
    fails(scene, look, b"a cat", model)
    monkeypatch.setattr(captioner, "WorkerProcess", lambda *_, **__: pytest.fail("it was tried again"))
    assert "is broken. Choose another." in fails(scene, look, b"a cat", model)


def test_a_process_that_dies_is_started_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    started = list[object]()
    process = captioner.WorkerProcess
    monkeypatch.setattr(captioner, "WorkerProcess", lambda *a, **k: started.append(a) or process(*a, **k))
    look, model = scene.captioner(), scene.model()
    assert "The picture model's process ended: exit code 7" in fails(scene, look, b"crash", model)
    assert len(started) == 1
    assert look.describe(picture(b"a cat"), model) == "a cat"
    assert "process ended: exit code 7" in fails(scene, look, b"crash", model)
    assert len(started) == 3, "one that may have died before it was asked is replaced once"


def test_a_description_that_never_ends_is_ended(scene: Scene) -> None:
    look, model = scene.captioner(patience=5.0), scene.model()
    assert look.describe(picture(b"a cat"), model) == "a cat"
    look._patience = 0.3
    assert "did not finish looking, and was ended" in fails(scene, look, b"hang", model)
    assert look.pid is None


def test_a_slow_load_continues_for_the_next_picture(scene: Scene) -> None:
    look, model = scene.captioner(patience=0.3), scene.model("slow")
    assert "is still being loaded, for the next picture" in fails(scene, look, b"a cat", model)
    process = look.pid
    look._patience = PATIENT
    assert look.describe(picture(b"a cat"), model) == "a cat"
    assert look.pid == process is not None


def test_a_second_picture_waits_no_longer_than_the_first(scene: Scene) -> None:
    look = scene.captioner(patience=0.2)
    with look._lock:
        assert "is busy with another picture" in fails(scene, look, b"a cat", scene.model())


@pytest.mark.parametrize("data", [b"nothing"])
def test_an_empty_description_is_an_error(scene: Scene, data: bytes) -> None:
    assert "said nothing about the picture" in fails(scene, scene.captioner(), data, scene.model())


def test_a_file_that_is_too_large_is_not_read(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioner, "LARGEST_FILE", 10)
    file = tmp_path / "large.png"
    file.write_bytes(b"x" * 11)
    for large in (Picture(path=str(file)), picture(b"x" * 12)):
        with pytest.raises(captioner.EngineError, match="too large"):
            captioner.read(large)


@pytest.mark.parametrize("bad", [Picture(path="/no/such.png"), Picture(base64="A"), Picture(path="a\0b")])
def test_a_file_that_cannot_be_read_is_an_error(bad: Picture) -> None:
    with pytest.raises(captioner.EngineError, match="cannot be read"):
        captioner.read(bad)


def test_a_relative_path_is_looked_for_in_the_model_folders(scene: Scene) -> None:
    place = Path(scene.model())
    look = PictureCaptioner(
        scene.report, PATIENT, PATIENT, COMMAND, places=lambda model: [place.parent / "no" / model, place]
    )
    scene.made.append(look)
    assert look.describe(picture(b"a cat"), "./fine") == "a cat"
    assert "not on this computer" in fails(scene, scene.captioner(), b"a cat", "./fine")


def test_a_picture_is_described_once(scene: Scene) -> None:
    look = scene.captioner()
    assert look.describe(picture(b"a cat"), scene.model()) == "a cat"
    look.close()
    assert look.describe(picture(b"a cat"), scene.model()) == "a cat"
    assert look.pid is None, "the second one to answer needs no look of its own"
    assert look.describe(picture(b"a dog"), scene.model()) == "a dog"
    assert look.describe(picture(b"a dog"), scene.model("other")) == "a dog"


def test_an_unexpected_error_costs_only_a_line(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captioner, "read", lambda picture: 1 / 0)
    assert "ZeroDivisionError" in fails(scene, scene.captioner(), b"a cat", scene.model())


# --- memory -----------------------------------------------------------------------------------------------------------


def test_the_process_ends_when_no_picture_comes(scene: Scene) -> None:
    look = scene.captioner(idle=0.2)
    look.describe(picture(b"a cat"), scene.model())
    assert wait_until(lambda: look.pid is None)
    assert look.describe(picture(b"a dog"), scene.model()) == "a dog"


def test_another_model_replaces_the_first(scene: Scene) -> None:
    look = scene.captioner()
    look.describe(picture(b"a cat"), scene.model())
    first = look.pid
    look.describe(picture(b"a dog"), scene.model("other"))
    assert look.pid not in (None, first)


# --- the service ------------------------------------------------------------------------------------------------------


class Scripted:
    """Describes every picture in the same words."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed = False

    def describe_in(self, request: ChatRequest, model: str) -> ChatRequest:
        self.asked.append(model)
        return captioner.with_description(request, "a red square")

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("model", ["", "owner/captions"])
def test_the_setting_decides_whether_pictures_are_described(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look: Any = Scripted()
    desk = Desk(tmp_path, monkeypatch, captioner=look, API_FALLBACK_VISION_MODEL=model)
    prompts = list[str]()
    local: Any = desk.local
    monkeypatch.setattr(local, "generate", lambda generation, stats: prompts.append(generation.prompt) or iter(["Oh!"]))
    for request in (shown(b"a cat"), ChatRequest("ollama", (Message("user", "Hi"),))):
        assert "".join(desk.service.answer(request, REFUSED).pieces) == "Oh!"
    assert look.asked == ([model] if model else []), "and never for a message without a picture"
    assert ("[The picture shows: a red square]" in prompts[0]) == bool(model)
    assert ("cannot see pictures" in prompts[0]) != bool(model)
    desk.service.close()
    assert look.closed


class Listener:
    """A second server that keeps what it was told."""

    name = "a friend"

    def __init__(self) -> None:
        self.told: list[str] = []

    def stream(self, messages: Sequence[Message], **options: object) -> Iterator[str]:
        self.told.append(messages[-1].content)
        return iter(["Oh!"])


def test_a_second_server_gets_the_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    friend, settings = Listener(), {"API_FALLBACK_HOST": "127.0.0.1:9", "API_FALLBACK_VISION_MODEL": "owner/captions"}
    desk = Desk(tmp_path, monkeypatch, Scripted(), lambda address, model: friend, **settings)
    service = desk.service
    assert "".join(service.answer(shown(b"a cat"), REFUSED).pieces) == "Oh!"
    assert friend.told[0].endswith("[The picture shows: a red square]")
    service.close()
