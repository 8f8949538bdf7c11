"""Outages as the host lives through them: a real process, a real server that fails, a real (tiny) fallback model.

One process of the host for all outages with one client library; the chat is begun anew for each.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.helpers.fault_server import HALF, REPLY
from tests.helpers.stage import Stage
from zwaif_fallback.standin import TREE
from zwaif_fallback.standin.tree.utils.voice_splitter import split_into_sentences

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]
CHATPOPS = json.loads((TREE / "Configurables" / "Chatpops.json").read_text(encoding="utf-8"))
FAULTS = ("refused", "http_500", "html_200", "blank_reply", "reset_in_the_middle")
BOTH_WAYS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture(scope="module", params=["Oobabooga", "Ollama"])
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    pytest.importorskip("torch")
    if request.param == "Ollama":
        pytest.importorskip("ollama")
    stage = Stage(tmp_path_factory.mktemp("outage"), request.param)
    yield stage
    stage.close()


@pytest.fixture
def stage(running: Stage) -> Iterator[Stage]:
    running.is_well_again()
    yield running
    running.is_well_again()
    running.do(fresh=False)
    running.do(say="Are you back?")  # a good reply: the count of soft failures starts afresh


def nothing_left_behind(state: dict[str, Any]) -> None:
    assert state["error"] == ""
    assert state["flags"] == [False, ""]
    assert "Asking again" not in state["log"]
    assert not any(" Hmm." in entry[0] for entry in state["history"])


def kept_once(state: dict[str, Any], asked: str) -> str:
    """The reply to ``asked``, which must stand in the history exactly once, with tags and time."""
    (entry,) = [entry for entry in state["history"] if entry[0] == asked]
    _, reply, tags, time = entry
    assert isinstance(tags, list)
    assert len(time) == len("2026-01-01 00:00:00")
    assert reply.strip()
    assert reply == state["received"]
    return str(reply)


@BOTH_WAYS
@pytest.mark.parametrize("fault", FAULTS)
def test_an_outage_and_the_way_back(stage: Stage, fault: str, stream: bool) -> None:
    stage.do(fresh=stream)
    stage.fails_with(fault)
    state = stage.do(say="Tell me something nice")
    nothing_left_behind(state)
    reply = kept_once(state, "Tell me something nice")
    (answer,) = state["answers"]
    assert answer["plugin"] == "fallback"
    assert reply == (HALF if fault == "reset_in_the_middle" else "") + answer["text"]
    if stream:
        assert state["spoken"][0] in CHATPOPS
        assert state["spoken"][1:] == split_into_sentences(reply)
    else:
        assert state["spoken"] == [reply]

    stage.is_well_again()
    state = stage.do(say="Are you well again?")
    nothing_left_behind(state)
    assert kept_once(state, "Are you well again?") == REPLY
    assert len(state["answers"]) == 1
    assert len(state["history"]) == 3


def test_a_reroll_in_the_middle_of_a_takeover(stage: Stage) -> None:
    stage.do(fresh=True)
    stage.fails_with("refused")
    state = stage.do(say="Tell me a story", skip_once=True)
    nothing_left_behind(state)
    kept_once(state, "Tell me a story")
    assert len(state["answers"]) == 1, "the abandoned answer is no answer"


@BOTH_WAYS
def test_a_reroll_after_a_takeover_replaces_the_reply(stage: Stage, stream: bool) -> None:
    stage.do(fresh=stream)
    stage.fails_with("refused")
    stage.do(say="Tell me a joke")
    state = stage.do(run="/next")
    nothing_left_behind(state)
    kept_once(state, "Tell me a joke")
    assert len(state["history"]) == 2


def test_five_messages_in_one_outage_are_five_replies_and_one_outage(stage: Stage) -> None:
    stage.do(fresh=True)
    stage.fails_with("refused")
    for number in range(5):
        state = stage.do(say=f"Message number {number}")
        nothing_left_behind(state)
        kept_once(state, f"Message number {number}")
    assert len(state["outages"]) == 1
    assert len(state["answers"]) == 5


@BOTH_WAYS
def test_a_picture_is_answered(stage: Stage, stream: bool) -> None:
    stage.do(fresh=stream)
    stage.fails_with("refused")
    state = stage.do(run="/image")
    nothing_left_behind(state)
    assert state["history"][-1][1].strip()
    assert state["history"][-1][2] == ["ZW-Visual"]
    assert [answer["why"] for answer in state["answers"]] == ["image"]


def test_a_hard_summary_becomes_part_of_the_chat(stage: Stage) -> None:
    stage.do(fresh=True)
    stage.fails_with("refused")
    state = stage.do(run="/memory")
    nothing_left_behind(state)
    assert state["history"][-1][0].startswith("[System L]")
    assert state["history"][-1][1].strip()
    assert [answer["why"] for answer in state["answers"]] == ["summary"]


def test_a_soft_summary_goes_to_its_own_log(stage: Stage) -> None:
    stage.do(fresh=True)
    stage.do(say="My cat is called Moritz.")
    stage.fails_with("refused")
    state = stage.do(run="/summary")
    nothing_left_behind(state)
    assert state["summary"].strip()
    assert [answer["why"] for answer in state["answers"]] == ["summary"]
    assert len(state["history"]) == 2
