"""How long the demo and the self-check wait for the host: as long as it works, not as long as a fast computer takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from zwaif_fallback.cli.selftest import CheckFailed, Place, check_controller
from zwaif_fallback.demo import host_process

EVENT = "import json, sys, time\ntell = lambda **event: print(json.dumps(event), flush=True)\n"
WORKS = "until = time.monotonic() + {}\nwhile time.monotonic() < until: pass\n"
RESTS = "time.sleep({})\n"
MakeChat = Callable[[str], host_process.HostProcess]


@pytest.fixture
def chat_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeChat]:
    """A host that does what the code says; a second without work is one too many."""
    monkeypatch.setattr(host_process, "CHILD", tmp_path / "host_child.py")
    monkeypatch.setattr(host_process, "_STEP", 0.25)
    monkeypatch.setattr(host_process, "IDLE_SECONDS", 1.0)
    chats: list[host_process.HostProcess] = []

    def make(code: str) -> host_process.HostProcess:
        (tmp_path / "host_child.py").write_text(EVENT + code, encoding="utf-8")
        (tmp_path / "host.log").write_text("the host's last line\n", encoding="utf-8")
        chats.append(host_process.HostProcess(tmp_path, dict(os.environ), tmp_path / "host.log"))
        return chats[-1]

    yield make
    for chat in chats:
        chat.close()


def test_a_host_that_works_is_waited_for(chat_with: MakeChat) -> None:
    chat = chat_with(WORKS.format(2.5) + "tell(ready=True)\n")
    assert chat.event("ready") == {"ready": True}


def test_a_host_that_does_nothing_is_given_up(chat_with: MakeChat) -> None:
    with pytest.raises(host_process.DemoError, match=r"did nothing for 1 s\.\nthe host's last line"):
        chat_with(RESTS.format(60)).event("ready")


def test_a_host_that_is_never_done_is_given_up_too(chat_with: MakeChat) -> None:
    with pytest.raises(host_process.DemoError, match=r"was still busy after 0 minutes\.\nthe host's last line"):
        chat_with(WORKS.format(60)).event("ready", longest=2.0)


def test_a_model_that_cannot_be_loaded_ends_the_wait_with_the_reason(chat_with: MakeChat) -> None:
    code = "tell(found='12:00 Fallback not loaded: torch is missing. Run: pip install torch')\nsys.stdin.read()\n"
    with pytest.raises(host_process.NotLoaded, match=r"^Fallback not loaded: torch is missing"):
        chat_with(code).wait_until_loaded()


def test_the_self_check_says_why_the_model_could_not_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zwaif_fallback.cli.selftest.MODEL", tmp_path / "no model")
    with pytest.raises(CheckFailed, match=r"^Fallback not .*no model"):
        check_controller(Place(tmp_path))
