"""Z-Waif is killed in the middle of an outage and started again: real processes, a real server, a real (tiny) model."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.fault_server import REPLY
from tests.helpers.stage import Stage

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.name == "nt", reason="on Windows no variable moves the user's log folder"),
]
SETTING = 40.0
"""Seconds; what the first message to a server that hangs would wait if nothing were known about it."""


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    pytest.importorskip("torch")
    stage = Stage(tmp_path, "Oobabooga", API_FALLBACK_FIRST_TOKEN_TIMEOUT=f"{SETTING:g}")
    yield stage
    stage.close()


def restarted_in_an_outage(stage: Stage, fault: str) -> None:
    for number in range(6):
        stage.do(say=f"Message number {number}")
    stage.fails_with(fault)
    assert stage.do(say="Are you there?")["answers"]
    wait_for_the_file(stage)
    stage.restart()
    if fault == "refused":
        wait_for_the_outage(stage)
    stage.do(fresh=True)


def wait_for_the_outage(stage: Stage) -> None:
    """Until it is resumed, in the background, a message is sent as if nothing were known."""
    end = time.monotonic() + 30.0
    while stage.do()["outages"] != ["refused"]:
        assert time.monotonic() < end, "the outage was never resumed"
        time.sleep(0.05)


def wait_for_the_file(stage: Stage) -> None:
    for _ in range(200):
        found = list((stage.log.parent / "state").rglob("learned-*.json"))
        if found and b'"outage": ""' not in found[0].read_bytes():
            return
        time.sleep(0.05)
    raise AssertionError("the outage was never written")


def say(stage: Stage, text: str) -> tuple[dict[str, Any], float]:
    began = time.monotonic()
    return stage.do(say=text), time.monotonic() - began


def test_the_first_message_to_a_server_that_still_hangs_is_answered_soon(stage: Stage) -> None:
    restarted_in_an_outage(stage, "lists_models_but_hangs")
    state, seconds = say(stage, "And now?")
    assert state["error"] == ""
    assert [answer["kind"] for answer in state["answers"]] == ["first token timeout"]
    waited = re.search(r"has been silent for ([\d.]+) s", state["log"])
    assert waited is not None and float(waited[1]) < SETTING / 4
    assert seconds < SETTING


def test_a_server_that_is_well_again_answers_the_first_message(stage: Stage) -> None:
    restarted_in_an_outage(stage, "lists_models_but_hangs")
    stage.server.fault = "healthy"
    state, _ = say(stage, "And now?")
    assert (state["received"], state["answers"], state["outages"]) == (REPLY, [], [])


def test_a_server_that_is_still_gone_is_not_asked(stage: Stage) -> None:
    restarted_in_an_outage(stage, "refused")
    state, _ = say(stage, "And now?")
    assert [answer["kind"] for answer in state["answers"]] == ["circuit open"]


def test_a_damaged_file_is_as_good_as_none(stage: Stage) -> None:
    stage.do(say="Hello")
    wait = time.monotonic() + 10.0
    while not (found := list((stage.log.parent / "state").rglob("learned-*.json"))) and time.monotonic() < wait:
        time.sleep(0.05)
    found[0].write_bytes(b'{"version": 1, "servers": {"')
    stage.restart()
    stage.do(fresh=True)
    assert say(stage, "And now?")[0]["received"] == REPLY
    (log,) = (stage.log.parent / "state").rglob("zwaif_fallback.log")
    assert log.read_text(encoding="utf-8").count("learned again") == 1
