"""A service and a download that do nothing by themselves: the test moves them on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from zwaif_fallback.downloads.transfer import DownloadStopped, Progress, Report, Stop
from zwaif_fallback.engine_types import LoadedModel
from zwaif_fallback.models.facts import GGUF, ModelFacts, Shape
from zwaif_fallback.models.search import FoundModel
from zwaif_hooks.messages import Answer, ModelInfo

PRIVATE = [
    "API_FALLBACK_TRUSTED_HOST",
    "API_FALLBACK_RESTART",
    "API_FALLBACK_LLAMA_SERVER",
    "FALLBACK_MODEL_DIR",
    "API_FALLBACK_VISION_MODEL",
    "API_FALLBACK_LAST_WORDS",
]
"""Our settings that the page must neither show nor change: places on the disk, programs, and who gets the key."""
ENV = "# my settings\nCHAR_NAME = Waif\nAPI_FALLBACK_ENABLED = ON\n"


def found(folder: Path) -> FoundModel:
    """A model of 1.1 billion parameters whose file is really there."""
    folder.mkdir(parents=True)
    path = folder / "sha256-1234"
    path.write_bytes(b"GGUF" + bytes(60))
    facts = ModelFacts(
        GGUF,
        "llama",
        1_100_000_000,
        "Q4_K_M",
        2048,
        700_000_000,
        700_000_000,
        True,
        shape=Shape(layers=22, cached_numbers=11_264),
        title="Tiny Companion",
    )
    return FoundModel("companion:1b", "Ollama", str(path), path, facts)


def loaded(name: str) -> LoadedModel:
    return LoadedModel(ModelInfo(name), "scripted", memory_bytes=300_000_000)


class ScriptedService:
    """Stands in for the plugin: loads as far as it is told to, and says what it is given to say."""

    def __init__(self) -> None:
        self.loads: list[tuple[str, bool]] = []
        self.progress: list[str] = []
        self.news: list[str] = []
        self.refusal: Exception | None = None
        self.pieces: list[str | Exception] = ["Yes, ", "loud and clear."]
        self.asked: list[str] = []
        self.tried: list[str] = []
        self.released = threading.Event()
        self.speaks: LoadedModel | None = None
        self.automatic = False
        self.own_choice = ""
        self.unloads = 0
        self.stands_by = 0

    def loaded(self) -> LoadedModel | None:
        return self.speaks

    def standing_by(self) -> int:
        return self.stands_by

    def is_automatic(self) -> bool:
        return self.automatic

    def taken(self) -> str:
        return self.own_choice

    def local_news(self) -> list[str]:
        return [*self.progress[:1], *self.news]

    def is_loading(self) -> bool:
        return bool(self.progress)

    def load_model(self, name: str, allow_download: bool) -> None:
        if self.refusal:
            raise self.refusal
        self.loads.append((name, allow_download))

    def unload(self) -> str:
        self.unloads += 1
        return "Unloaded."

    def test_reply(self, prompt: str, model: str = "") -> Answer:
        self.asked.append(prompt)
        self.tried.append(model)
        answer = Answer(())
        answer.pieces = self._speak(answer)
        return answer

    def _speak(self, answer: Answer) -> Iterator[str]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            answer.answered_by = "Scripted 1B"
        finally:
            self.released.set()


class ScriptedDownload:
    """Is a quarter done, then waits until the test lets it finish or the user stops it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.told = threading.Event()
        self.problem: Exception | None = None

    def __call__(self, name: str, say: Callable[[str], None], *, report: Report, stop: Stop) -> Path:
        self.asked.append(name)
        if self.problem:
            raise self.problem
        report(Progress("model.safetensors", 500_000_000, 2_000_000_000, 10_000_000.0))
        self.told.set()
        while not self.go_on.wait(0.01):
            if stop():
                raise DownloadStopped
        return Path("somewhere")
