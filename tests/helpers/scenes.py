"""Where an error text of ours is produced: a folder to break things in, and who says which text."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from zwaif_fallback import demo, settings
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.engines import error_messages
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, PrimaryFailure

WORKER = [sys.executable, str(Path(__file__).with_name("scripted_worker.py"))]
CHAT = ChatRequest("oobabooga", (Message("user", "Hi"),))
REFUSED = PrimaryFailure(FailureKind.REFUSED, "nothing listens there")


@dataclass
class Scene:
    """Where something goes wrong."""

    folder: Path
    patch: pytest.MonkeyPatch
    said: list[str] = field(default_factory=list)
    """What the user was told."""

    def say(self, line: str) -> None:
        self.said.append(line)

    def store(self, **environ: str) -> SettingsStore:
        return SettingsStore(settings.SETTINGS, None, dict(environ), say=self.say)

    def env_file(self, content: bytes = b"A = 1\n") -> Path:
        path = self.folder / ".env"
        path.write_bytes(content)
        return path

    def model(self, *leave_out: str) -> Path:
        """A copy of the embedded model that lacks some files."""
        copy = self.folder / "model"
        shutil.copytree(demo.MODEL, copy, ignore=shutil.ignore_patterns(*leave_out))
        return copy


Producer = Callable[[Scene], object]
PRODUCERS: dict[str, Producer] = {}


def says(*texts: str) -> Callable[[Producer], Producer]:
    """What is produced by raising it, returning it, or telling the scene."""

    def register(producer: Producer) -> Producer:
        for text in texts:
            assert text not in PRODUCERS
            PRODUCERS[text] = producer
        return producer

    return register


def means(text: str, error: str, kind: type[Exception] = OSError) -> None:
    """An error of a library, as one of ours."""

    def produce(scene: Scene) -> object:
        return str(error_messages.explain(kind(error), LoadOptions("owner/model")))

    says(text)(produce)
