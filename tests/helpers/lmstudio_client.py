"""The real ``lmstudio`` library, guarded, with a server that speaks its protocol: called as Z-Waif calls it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.conftest import Guarded

lms = pytest.importorskip("lmstudio")
pytest.importorskip("wsproto")

import lmstudio.sync_api as library  # noqa: E402

from tests.helpers.lmstudio_server import LMStudioServer  # noqa: E402
from zwaif_hooks.guards import lmstudio as guard  # noqa: E402
from zwaif_hooks.guards import swap  # noqa: E402
from zwaif_hooks.guards.lmstudio_greeting import QUESTION  # noqa: E402

READER = "zwaif-primary"
"""The name of a thread while it reads a reply."""
HISTORY = {
    "messages": [
        {"role": "system", "content": "You are Mia."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "How are you?"},
    ]
}
CONFIG = {"temperature": 0.7, "minPSampling": 0.05, "topKSampling": 40, "repeatPenalty": 1.1, "maxTokens": 120}


@pytest.fixture
def studio() -> Iterator[LMStudioServer]:
    with LMStudioServer() as running:
        yield running


@pytest.fixture
def installed(guarded: Guarded, studio: LMStudioServer) -> Iterator[None]:
    """The guard in place, and a default client that looks for LM Studio where ours is."""
    library._reset_default_client()
    library.configure_default_client(studio.address)
    guard.install(lms, guarded.runtime)
    yield
    swap.restore(lms, "llm")
    swap.restore(lms, "prepare_image")
    swap.restore(lms.Client, QUESTION)
    guarded.runtime.primaries.shut_down()
    studio.stop()
    _wait_for_the_last()
    library._reset_default_client()


def _wait_for_the_last() -> None:
    """A thread that still asks for this test would make the library's client, which is global, for the next one."""
    at_work = ("zwaif-probe", READER)
    for _ in range(1000):
        if not any(thread.name in at_work for thread in threading.enumerate()):
            return
        time.sleep(0.02)
    raise AssertionError("somebody still asks the LM Studio of this test")


@pytest.fixture
def ask_lmstudio(installed: None) -> Callable[[str, bool], str]:
    return lambda _, stream: ask(stream)


def ask(stream: bool, chat: Any = None) -> str:
    model = lms.llm("m")
    chat = chat or lms.Chat.from_history(HISTORY)
    if stream:
        return "".join(fragment.content for fragment in model.respond_stream(chat, config=CONFIG))
    return str(model.respond(chat, config=CONFIG).content)
