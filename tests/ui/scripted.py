"""A service that does nothing by itself: the test moves it on."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from zwaif_fallback import catalogue
from zwaif_hooks.messages import Answer

ENV = "# my settings\nCHAR_NAME = Waif\nAPI_FALLBACK_ENABLED = ON\n"


class ScriptedService:
    """Stands in for the plugin: loads as far as it is told to, and says what it is given to say."""

    def __init__(self) -> None:
        self.loads: list[tuple[str, bool]] = []
        self.progress: list[str] = []
        self.lines = ["Ready."]
        self.refusal: Exception | None = None
        self.pieces: list[str | Exception] = ["Yes, ", "loud and clear."]
        self.asked: list[str] = []
        self.released = threading.Event()

    def status_lines(self) -> list[str]:
        return [self.progress[0]] if self.progress else self.lines

    def is_loading(self) -> bool:
        return bool(self.progress)

    def load_model(self, name: str, allow_download: bool) -> None:
        if self.refusal:
            raise self.refusal
        self.loads.append((name, allow_download))

    def model_info(self, name: str) -> str:
        return catalogue.describe(name)

    def test_reply(self, prompt: str) -> Answer:
        self.asked.append(prompt)
        answer = Answer(())
        answer.pieces = self._speak(answer)
        return answer

    def _speak(self, answer: Answer) -> Iterator[str]:
        try:
            for piece in self.pieces:
                if isinstance(piece, Exception):
                    raise piece
                yield piece
            answer.answered_by = "Scripted 1B on cpu"
        finally:
            self.released.set()
