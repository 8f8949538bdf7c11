"""Who says the texts about downloads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.loopback_hub import LoopbackHub, running_hub
from tests.helpers.scenes import Scene, means, says
from tests.unit.test_files import held
from zwaif_fallback.downloads import download, transfer
from zwaif_fallback.downloads.hub import HuggingFace

# --- downloads --------------------------------------------------------------------------------------------------------


class Hub:
    """Says no, or has files of some sizes."""

    def __init__(self, error: Exception | None = None, **sizes: int) -> None:
        self._error = error
        self._sizes = {name.replace("_", "."): size for name, size in sizes.items()}

    def files(self, model: str) -> dict[str, int]:
        if self._error is not None:
            raise self._error
        return self._sizes

    def fetch(self, model: str) -> Path:
        raise AssertionError("not reached")


def fetch(scene: Scene, hub: Hub, free: int = 10**12) -> object:
    return download.download("owner/model", scene.say, hub, free_bytes=lambda place: free)


def http(status: int) -> Exception:
    import requests

    response = requests.Response()
    response.status_code = status
    return requests.HTTPError(f"{status} for url", response=response)


def hub_error(name: str, **fields: Any) -> Exception:
    from huggingface_hub import errors

    kind: type[Exception] = getattr(errors, name)
    made = kind.__new__(kind)
    made.args = (name,)
    for attribute, value in fields.items():
        setattr(made, attribute, value)
    return made


def downloads(ending: str, error: Callable[[], Exception]) -> None:
    says(f"… was not downloaded: {ending}")(lambda scene: fetch(scene, Hub(error())))


def _requests_error(name: str) -> Exception:
    from requests import exceptions

    made: Exception = getattr(exceptions, name)("no route")
    return made


downloads("its owner requires you to accept the conditions.", lambda: hub_error("GatedRepoError"))
downloads("Hugging Face has no public model of that name.", lambda: hub_error("RepositoryNotFoundError"))
downloads("Hugging Face refused (…). Check the name.", lambda: http(400))
downloads("Hugging Face cannot be reached.", lambda: _requests_error("ConnectionError"))
downloads("offline mode is on.", lambda: hub_error("OfflineModeIsEnabled"))
downloads("no secure connection to Hugging Face (…)", lambda: _requests_error("SSLError"))
downloads("Hugging Face asks for a pause (too many requests).", lambda: http(429))
downloads("Hugging Face has a problem (…)", lambda: http(503))
downloads("the disk is full.", lambda: OSError(28, "No space left on device"))
downloads("its folder cannot be written (…)", lambda: PermissionError(13, "Permission denied"))
downloads("another program has one of its files open. Close it and try again", lambda: held())
downloads("…. Try again; ZWAIF_DEBUG=1 shows the details.", lambda: RuntimeError("unheard of"))
says("… offers no safetensors weights")(lambda scene: fetch(scene, Hub(pytorch_model_bin=9)))
says("… offers several files.")(lambda scene: fetch(scene, Hub(a_gguf=9, b_gguf=9)))
says("… has no such file.")(
    lambda scene: download.download("owner/model:other.gguf", scene.say, Hub(a_gguf=9, b_gguf=9))
)
downloads("the connection keeps breaking off.", lambda: _requests_error("ChunkedEncodingError"))


@says("… keeps ending too soon. Try again later.")
def _(scene: Scene) -> object:
    scene.patch.setattr(transfer, "_attempt", lambda *_: None)
    remote = transfer.RemoteFile("model.safetensors", "", 10, "")
    meter = transfer.Meter(10, lambda progress: None)
    return transfer.transfer(remote, scene.folder / "part", meter, session=None, headers={}, wait=lambda seconds: None)


@says("… arrived compressed, which was not requested.")
def _(scene: Scene) -> object:
    return from_loopback(scene, lambda hub: setattr(hub, "packed", True))


@says("… is longer than announced, so it was removed.")
def _(scene: Scene) -> object:
    return from_loopback(scene, lambda hub: setattr(hub, "endless", True))


@says("… is not as listed: … bytes instead of …")
def _(scene: Scene) -> object:
    return from_loopback(scene, lambda hub: hub.listed.update({"model.gguf": 9}))


@says("… has no checksum to verify it by, so it was not downloaded.")
def _(scene: Scene) -> object:
    return from_loopback(scene, lambda hub: hub.etags.update({"model.gguf": "none"}))


def from_loopback(scene: Scene, prepare: Callable[[LoopbackHub], object]) -> object:
    with running_hub("owner/model", {"model.gguf": b"GGUF"}) as hub:
        prepare(hub)
        cache = str(scene.folder / "cache")
        return download.download("owner/model:model.gguf", scene.say, HuggingFace(hub.address, cache), cache_dir=cache)


@says("… arrived damaged (its checksum is wrong) and was removed.")
def _(scene: Scene) -> object:
    part = scene.folder / "part"
    part.write_bytes(b"short")
    return transfer.check(transfer.RemoteFile("model.safetensors", "", 10, ""), part)


says("… needs … GB, and … has … GB free.")(
    lambda scene: fetch(scene, Hub(config_json=1, model_safetensors=2 * 10**9), free=10**9)
)
means("The disk is full: … could not be stored.", "[Errno 28] No space left on device")
