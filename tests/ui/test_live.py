"""The live state and its picture: read as a person would, and as a parser would."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ui.scripted import ScriptedDownload, ScriptedService
from zwaif_fallback.outages import Outages
from zwaif_fallback.ui import timeline
from zwaif_fallback.ui.fetching import Fetching
from zwaif_fallback.ui.live import Live
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.primary import PrimaryStatus
from zwaif_hooks.records import TurnLog, TurnRecord

NOW = 1_800_000_000.0
NASTY = '"><script>alert(1)</script><img src=x onerror=alert(2)>&\x00'
SERVER = "127.0.0.1:5000"


def turn(minutes_ago: float, by: str = "primary", **more: Any) -> TurnRecord:
    return TurnRecord(NOW - minutes_ago * 60, SERVER, "oobabooga", by, seconds=2.0, **more)


def elements(svg: str, kind: str) -> list[Any]:
    return list(ElementTree.fromstring(svg).iter(f"{{http://www.w3.org/2000/svg}}{kind}"))


class Stage:
    """A live state whose every part the test sets."""

    def __init__(self) -> None:
        self.statuses: list[PrimaryStatus] = []
        self.records, self.clock = TurnLog(), NOW
        self.outages = Outages(lambda: self.clock)
        self.service, self.enabled = ScriptedService(), True
        book: Any = SimpleNamespace(statuses=lambda: self.statuses)
        self.live = Live(
            book,
            self.records,
            self.outages,
            self.service,
            Fetching(ScriptedDownload()),
            lambda: self.enabled,
            now=lambda: self.clock,
        )


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_before_the_first_message(stage: Stage) -> None:
    html = stage.live.html()
    assert "was not asked for a reply yet" in html
    assert "0 replies in the last hour, 0 by the fallback; 0 outages." in html


@pytest.mark.parametrize(
    ("state", "words", "colour"),
    [
        ("healthy", "127.0.0.1:5000 is healthy, for 12 min.", timeline.GREEN),
        ("failing", "127.0.0.1:5000 is failing: it is still asked", timeline.ORANGE),
        ("open", "127.0.0.1:5000 is open (not asked) for 12 min, until it answers again", timeline.RED),
    ],
)
def test_state_of_the_server(stage: Stage, state: str, words: str, colour: str) -> None:
    failure = PrimaryFailure(FailureKind.REFUSED, "nothing listens")
    stage.statuses = [PrimaryStatus(SERVER, state, 720.0, failure)]
    html = stage.live.html()
    assert words in html
    assert colour in html.partition(words)[0]
    assert ("Last failure: nothing listens." in html) is (state != "healthy")


def test_switched_off_is_said(stage: Stage) -> None:
    stage.enabled = False
    assert "API Fallback is off: only the LLM server answers." in stage.live.html()


def test_who_answered_last_and_why(stage: Stage) -> None:
    stage.records.add(turn(1, "TinyLlama on cpu", cause="refused", detail="nothing listens at 127.0.0.1:5000"))
    assert "by TinyLlama on cpu, in 2.0 s. Why: nothing listens at 127.0.0.1:5000." in stage.live.html()
    stage.records.add(turn(0))
    assert "by the LLM server 127.0.0.1:5000, in 2.0 s.<" in stage.live.html()
    stage.records.add(turn(0, ""))
    assert "by nobody" in stage.live.html()


def test_load_is_shown(stage: Stage) -> None:
    stage.service.progress = ["Loading"]
    assert "A local model is being loaded" in stage.live.html()


def test_nothing_that_others_name_becomes_markup(stage: Stage) -> None:
    stage.statuses = [PrimaryStatus(NASTY, "open", 1.0, PrimaryFailure(FailureKind.REFUSED, NASTY))]
    stage.records.add(turn(1, NASTY, cause=NASTY, detail=NASTY))
    stage.outages.began(NASTY, NASTY)
    html = stage.live.html()
    assert "<script" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


def test_replies_stand_in_their_minute_and_colour() -> None:
    svg = timeline.picture([turn(0.5), turn(0.6, "Tiny"), turn(30.5), turn(59.9, ""), turn(61)], [], NOW)
    bars = [bar for bar in elements(svg, "rect") if bar.get("fill") != timeline.RED]
    assert [bar.get("fill") for bar in bars] == [timeline.GREY, timeline.GREEN, timeline.GREEN, timeline.ORANGE]
    assert [float(bar.get("x")) for bar in bars] == [2.0, 466.0, 946.0, 946.0]
    titles = [title.text for title in elements(svg, "title")]
    assert titles[-1].endswith("1 by the LLM server, 1 by the fallback, 0 by nobody")
    assert ElementTree.fromstring(svg).get("aria-label") == (
        "4 replies in the last hour, 1 by the fallback, 1 by nobody; 0 outages."
    )


def test_busy_minute_stays_in_the_picture() -> None:
    svg = timeline.picture([turn(0.5) for _ in range(400)], [], NOW)
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
    first, second = elements(timeline.picture([], stage.outages.since(NOW - 3600), NOW), "rect")
    assert (float(first.get("x")), float(first.get("width"))) == (480.0, 240.0)
    assert (float(second.get("x")), float(second.get("width"))) == (944.0, 16.0)
    stage.clock = NOW
    assert "2 outages, 16 min in all." in stage.live.html()


def test_outage_of_yesterday_is_not_shown_and_one_that_lasts_is(stage: Stage) -> None:
    stage.clock = NOW - 90_000
    stage.outages.began("old", "x")
    stage.outages.ended("old", 5)
    stage.outages.began("lasting", "x")
    stage.outages.began("lasting", "told twice")
    stage.clock = NOW
    assert [one.primary for one in stage.outages.since(NOW - 3600)] == ["lasting"]
    (band,) = elements(timeline.picture([], stage.outages.since(NOW - 3600), NOW), "rect")
    assert (float(band.get("x")), float(band.get("width"))) == (0.0, 960.0)
    assert "1 outage, 60 min in all." in stage.live.html()


@pytest.mark.parametrize(("seconds", "told"), [(0, "0 s"), (89, "89 s"), (120, "2 min"), (7200, "2 h")])
def test_durations(seconds: float, told: str) -> None:
    assert timeline.duration(seconds) == told
