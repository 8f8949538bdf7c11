"""The live state and its picture: read as a person would, and as a parser would."""

from __future__ import annotations

import html
import re
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.scripted_service import ScriptedService, loaded
from zwaif_fallback.answering.outages import Outages
from zwaif_fallback.ui import timeline
from zwaif_fallback.ui.live_status import LiveStatus
from zwaif_fallback.ui.model_list import ModelList
from zwaif_hooks.failover.breaker import PrimaryStatus
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.turn_log import TurnLog, TurnRecord

NOW = 1_800_000_000.0
NASTY = '"><script>alert(1)</script><img src=x onerror=alert(2)>&\x00'
SERVER = "127.0.0.1:5000"


def turn(minutes_ago: float, by: str = "primary", **more: Any) -> TurnRecord:
    return TurnRecord(NOW - minutes_ago * 60, SERVER, "oobabooga", by, seconds=2.0, **more)


def drawn(*args: Any) -> str:
    """The picture without the times under it."""
    return timeline.picture(*args).partition("</svg>")[0] + "</svg>"


def elements(svg: str, kind: str) -> list[Any]:
    return list(ElementTree.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{kind}"))


class Stage:
    """A live state whose every part the test sets."""

    def __init__(self, model_list: ModelList) -> None:
        self.statuses: list[PrimaryStatus] = []
        self.records, self.clock = TurnLog(), NOW
        self.outages = Outages(lambda: self.clock)
        self.service, self.enabled, self.host = ScriptedService(), True, ""
        self.service.automatic = True
        book: Any = SimpleNamespace(statuses=lambda: self.statuses)
        self.live = LiveStatus(
            book,
            self.records,
            self.outages,
            self.service,
            model_list,
            self.setting,
            lambda: {"API_TYPE": "Ollama"},
            now=lambda: self.clock,
        )

    def setting(self, name: str) -> object:
        return self.enabled if name == "API_FALLBACK_ENABLED" else self.host

    def is_down(self, seconds: float = 720.0) -> None:
        failure = PrimaryFailure(FailureKind.REFUSED, "nothing listens")
        self.statuses = [PrimaryStatus(SERVER, "open", seconds, failure)]


@pytest.fixture
def stage(model_list: ModelList) -> Stage:
    return Stage(model_list)


def read(markup: str) -> list[str]:
    """What a person reads, line by line."""
    return [html.unescape(re.sub("<[^>]*>", "", line)) for line in markup.partition("<svg")[0].split("</p>")[:-1]]


def test_before_the_first_message(stage: Stage) -> None:
    assert read(stage.live.html()) == [
        "\u25cf Ollama has not been asked for a reply since Z-Waif started.",
        "If it goes down, companion:1b on this computer answers.",
        "0 replies in the last hour, 0 by the fallback; 0 outages.",
    ]


def test_who_stands_by_is_no_loaded_model(stage: Stage) -> None:
    stage.service.stands_by = 38_400_000
    told = read(stage.live.html())[1]
    assert told == "If it goes down, companion:1b on this computer answers. A standby process is ready (38 MB)."
    stage.is_down()
    assert "standby process" not in stage.live.html()


@pytest.mark.parametrize(
    ("state", "words", "colour"),
    [
        ("healthy", "Ollama (127.0.0.1:5000) answers.", timeline.GREEN),
        (
            "failing",
            "Ollama (127.0.0.1:5000) failed on the last message. The next message goes to it again",
            timeline.ORANGE,
        ),
        (
            "open",
            "Ollama (127.0.0.1:5000) has been down for 12 min. It is used again as soon as it answers",
            timeline.RED,
        ),
    ],
)
def test_state_of_the_server(stage: Stage, state: str, words: str, colour: str) -> None:
    failure = PrimaryFailure(FailureKind.REFUSED, "nothing listens")
    stage.statuses = [PrimaryStatus(SERVER, state, 720.0, failure)]
    told = stage.live.html()
    assert words in told
    assert colour in told.partition(words)[0]
    assert ("Reason: nothing listens." in told) is (state != "healthy")


def test_outage_is_told_once_and_in_one_voice(stage: Stage) -> None:
    """Not "healthy" beside a red picture, and no replies of an hour that had some."""
    stage.records.add(turn(1, "tiny", cause="refused", detail="nothing listens"))
    stage.outages.began(SERVER, "nothing listens")
    stage.is_down(60)
    told = read(stage.live.html())
    assert told[0].endswith("has been down for 60 s. It is used again as soon as it answers. Reason: nothing listens.")
    assert told[1] == "Answering now: tiny on this computer."
    assert told[3] == "1 reply in the last hour, 1 by the fallback; 1 outage, 0 s in total."
    assert "".join(told).count("nothing listens") == 1
    assert "healthy" not in "".join(told)


def test_switched_off_is_said(stage: Stage) -> None:
    stage.enabled = False
    assert read(stage.live.html())[0] == "\u25cf API Fallback is off: only your LLM server answers."
    stage.is_down()
    told = read(stage.live.html())
    assert told[1] == "\u25cf Ollama (127.0.0.1:5000) has been down for 12 min. Reason: nothing listens."
    assert not [line for line in told if "Answering now" in line or "If it goes down" in line]


def test_who_answers_during_an_outage(stage: Stage) -> None:
    stage.is_down()
    assert read(stage.live.html())[1] == "Answering now: companion:1b on this computer."
    stage.service.speaks = loaded("owner/SmolLM2-135M-Instruct")
    assert read(stage.live.html())[1] == "Answering now: SmolLM2 135M Instruct on this computer."
    stage.host = "10.0.0.7:5000"
    assert read(stage.live.html())[1] == "Answering now: the second server 10.0.0.7:5000."
    stage.records.add(turn(1, "owner/SmolLM2-135M-Instruct", cause="refused"))
    assert read(stage.live.html())[1] == "Answering now: SmolLM2 135M Instruct on this computer.", "who really did"


def test_nobody_can_answer(stage: Stage) -> None:
    stage.service.automatic = False  # and what is chosen is not here
    assert "If it goes down, nothing can answer: there is no model on this computer yet." in read(stage.live.html())[1]
    stage.is_down()
    assert "Nothing can answer now" in read(stage.live.html())[1]


def test_who_answered_last_and_why(stage: Stage) -> None:
    stage.records.add(turn(1, "Tiny", cause="refused", detail="nothing listens at 127.0.0.1:5000"))
    assert "by Tiny on this computer. Reason: nothing listens at 127.0.0.1:5000." in stage.live.html()
    stage.records.add(turn(0))
    assert "after 2.0 s, by Ollama.<" in stage.live.html()
    stage.records.add(turn(0, ""))
    assert "by nobody" in stage.live.html()


# --- the line of the chat page --------------------------------------------------------------------------------------


def test_chat_page_says_who_speaks_while_the_fallback_does(stage: Stage) -> None:
    assert stage.live.chat_line() == ""
    stage.is_down()
    assert stage.live.chat_line() == "", "nobody has spoken yet"
    stage.records.add(turn(1, "lmstudio:x/y/SmolLM2-135M-Instruct.Q4_1.gguf"))
    assert stage.live.chat_line() == "Answered by SmolLM2 135M Instruct on this computer while Ollama is down."
    stage.enabled = False
    assert stage.live.chat_line() == ""
    stage.enabled, stage.host = True, "10.0.0.7:5000"
    stage.records.add(turn(1, "10.0.0.7:5000"))
    assert stage.live.chat_line() == "Answered by the second server 10.0.0.7:5000 while Ollama is down."
    stage.records.add(turn(1, "10.0.0.7:5000, then last words"))
    assert stage.live.chat_line() == (
        "Ollama is down and no model is ready to answer. See API Fallback in the Settings tab."
    )


def test_chat_page_is_silent_again_when_the_server_is_back(stage: Stage) -> None:
    stage.records.add(turn(1, "tiny"))
    stage.statuses = [PrimaryStatus(SERVER, "healthy", 1.0, None)]
    assert stage.live.chat_line() == ""
    stage.statuses = [PrimaryStatus(SERVER, "failing", 1.0, None)]
    assert stage.live.chat_line() != ""
    stage.records.add(turn(0))
    assert stage.live.chat_line() == ""


def test_nothing_that_others_name_becomes_markup(stage: Stage) -> None:
    stage.statuses = [PrimaryStatus(NASTY, "open", 1.0, PrimaryFailure(FailureKind.REFUSED, NASTY))]
    stage.records.add(turn(1, NASTY, cause=NASTY, detail=NASTY))
    stage.outages.began(NASTY, NASTY)
    told = stage.live.html()
    assert "<script" not in told
    assert "<img" not in told
    assert "&lt;script&gt;" in told


def test_replies_stand_in_their_minute_and_colour() -> None:
    svg = drawn([turn(0.5), turn(0.6, "Tiny"), turn(30.5), turn(59.9, ""), turn(61)], [], NOW)
    bars = [bar for bar in elements(svg, "rect") if bar.get("fill") != timeline.RED]
    assert [bar.get("fill") for bar in bars] == [timeline.GREY, timeline.GREEN, timeline.GREEN, timeline.ORANGE]
    assert [float(bar.get("x")) for bar in bars] == [2.0, 466.0, 946.0, 946.0]
    titles = [title.text for title in elements(svg, "title")]
    assert titles[-1].endswith("1 by the LLM server, 1 by the fallback, 0 without an answer")
    assert ElementTree.fromstring(svg).get("aria-label") == (
        "4 replies in the last hour, 1 by the fallback, 1 without an answer; 0 outages."
    )


def test_last_words_are_nobodys_reply(stage: Stage) -> None:
    stage.records.add(turn(1, "last words", cause="refused"))
    told = stage.live.html()
    assert "1 reply in the last hour, 0 by the fallback, 1 without an answer; 0 outages." in told
    assert "by no model (last words only)." in told


def test_busy_minute_stays_in_the_picture() -> None:
    svg = drawn([turn(0.5) for _ in range(400)], [], NOW)
    (bar,) = elements(svg, "rect")
    assert float(bar.get("y")) >= 0
    assert len(svg) < 3000


def test_outages_are_bands_from_their_beginning_to_their_end(stage: Stage) -> None:
    stage.clock = NOW - 1800
    stage.outages.began(SERVER, "nothing listens")
    stage.clock = NOW - 900
    stage.outages.ended(SERVER, 900)
    stage.clock = NOW - 60
    stage.outages.began(SERVER, "the reply stood still")
    first, second = elements(drawn([], stage.outages.since(NOW - 3600), NOW), "rect")
    assert (float(first.get("x")), float(first.get("width"))) == (480.0, 240.0)
    assert (float(second.get("x")), float(second.get("width"))) == (944.0, 16.0)
    stage.clock = NOW
    assert "2 outages, 16 min in total." in stage.live.html()


def test_outage_of_yesterday_is_not_shown_and_one_that_lasts_is(stage: Stage) -> None:
    stage.clock = NOW - 90_000
    stage.outages.began("old", "x")
    stage.outages.ended("old", 5)
    stage.outages.began("lasting", "x")
    stage.outages.began("lasting", "told twice")
    stage.clock = NOW
    assert [one.primary for one in stage.outages.since(NOW - 3600)] == ["lasting"]
    (band,) = elements(drawn([], stage.outages.since(NOW - 3600), NOW), "rect")
    assert (float(band.get("x")), float(band.get("width"))) == (0.0, 960.0)
    assert "1 outage, 60 min in total." in stage.live.html()


@pytest.mark.parametrize(("seconds", "told"), [(0, "0 s"), (89, "89 s"), (120, "2 min"), (7200, "2 h")])
def test_durations(seconds: float, told: str) -> None:
    assert timeline.duration(seconds) == told
