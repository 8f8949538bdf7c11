"""Who says the texts about pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.helpers.scenes import Scene, says
from zwaif_fallback.pictures import captioner, vision_engine
from zwaif_hooks.messages import ChatRequest, Message, Picture

COMMAND = (sys.executable, str(Path(__file__).with_name("scripted_vision_worker.py")))
PICTURE = Picture(base64="UE5H")


def looking(scene: Scene, patience: float = 30.0) -> captioner.PictureCaptioner:
    return captioner.PictureCaptioner(lambda line, error: scene.say(line), patience, command=COMMAND)


@says("The picture could not be described, and the companion says so: …")
def _(scene: Scene) -> object:
    request = ChatRequest("ollama", (Message("user", "Look"),), has_image=True, picture=PICTURE)
    return looking(scene).describe_in(request, "someone/absent").has_image


says("API_FALLBACK_VISION_MODEL is …, which is not on this computer.")(
    lambda scene: captioner.find("someone/absent", [])
)
says("API_FALLBACK_VISION_MODEL is …, but there is no whole model with config.json and model*.safetensors in …")(
    lambda scene: captioner.find("here", [scene.model("*.safetensors")])
)


@says("… cannot describe pictures here (…).")
def _(scene: Scene) -> object:
    return vision_engine.VisionEngine().load(str(scene.model()), "owner/model")


@says("… said nothing about the picture.")
def _(scene: Scene) -> object:
    return describe(scene, Picture(base64="bm90aGluZw=="))


@says("… (a reply waits … s for its picture).")
def _(scene: Scene) -> object:
    return describe(scene, PICTURE, patience=0.0)


says("The picture model's process ended: …")(lambda scene: describe(scene, Picture(base64="Y3Jhc2g=")))


def describe(scene: Scene, picture: Picture, patience: float = 30.0) -> object:
    model, look = scene.model(), looking(scene, patience)
    (model / "config.json").write_text('{"model_type": "blip"}', encoding="utf-8")
    try:
        return look.describe(picture, str(model))
    finally:
        look.close()


@says("… GB of memory for pictures, and … GB are free.")
def _(scene: Scene) -> object:
    scene.patch.setattr(captioner, "memory_now", lambda: SimpleNamespace(ram_free=0))
    return captioner.check_room(scene.model(), "owner/model")


@says("The picture's file is too large")
def _(scene: Scene) -> object:
    scene.patch.setattr(captioner, "LARGEST_FILE", 1)
    return captioner.read(PICTURE)


says("The picture's file cannot be read (…)")(
    lambda scene: captioner.read(Picture(path=str(scene.folder / "absent.png")))
)
says("The picture cannot be read (…)")(lambda scene: vision_engine.opened(b"no picture"))


@says("The picture is too large to unpack (…)")
def _(scene: Scene) -> object:
    from tests.helpers.vision_models import square

    scene.patch.setattr(vision_engine, "MOST_PIXELS", 1)
    return vision_engine.opened(square("red"))


@says("Pictures need Pillow (…).")
def _(scene: Scene) -> object:
    missing: Any = None
    scene.patch.setitem(sys.modules, "PIL", missing)
    return vision_engine.check_pillow()
