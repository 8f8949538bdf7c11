"""The status box: what came of the click, then what the service and the download say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol

from zwaif_fallback.ui.fetching import Fetching
from zwaif_hooks.messages import Answer

LOOK_AGAIN = 0.5
"""Seconds between two looks at a load or a download."""


class Service(Protocol):
    """What the section needs of the plugin."""

    def status_lines(self) -> list[str]:
        """What the user should know now, progress of a load included; from memory, at once."""

    def load_model(self, name: str, allow_download: bool) -> None:
        """Begin to load in the background and return; outcome and progress appear in ``status_lines``."""

    def is_loading(self) -> bool: ...

    def found_instead(self) -> str:
        """The model on this computer that answers while none is chosen and the default is missing; empty otherwise."""

    def test_reply(self, prompt: str) -> Answer:
        """A real reply, made while its pieces are iterated; closing the iterator stops it."""


class Status:
    """Text for the status box."""

    def __init__(self, service: Service, fetching: Fetching, wait: Callable[[float], object] = time.sleep) -> None:
        self._service, self._fetching, self._wait = service, fetching, wait

    def text(self, news: str = "") -> str:
        lines = (news, self._fetching.line, *self._service.status_lines())
        return "\n".join(dict.fromkeys(line for line in lines if line))

    @property
    def is_waiting(self) -> bool:
        """Whether a model is being downloaded or loaded."""
        return self._fetching.active or self._service.is_loading()

    def watch(self, news: str = "") -> Iterator[str]:
        """The text now and, while a model is coming, again and again until it is there."""
        while self.is_waiting:
            yield self.text(news)
            self._wait(LOOK_AGAIN)
        yield self.text(news)
