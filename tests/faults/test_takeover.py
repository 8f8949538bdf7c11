"""Plugins that hang, break, or never end, and how long anybody waits in silence."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import ollama
import pytest
import requests

from tests.faults.conftest import Guarded, ScriptedPlugin
from tests.helpers.clients import MESSAGES, Ask, ask_http, ask_ollama
from tests.helpers.fault_server import HALF, IN_THE_MIDDLE, FaultServer
from zwaif_hooks.failover.takeover import MEANWHILE
from zwaif_hooks.messages import Answer
from zwaif_hooks.specs import hookimpl

__all__ = ["ask_http", "ask_ollama"]


@pytest.fixture(autouse=True)
def primary_is_down(guarded: Guarded, server: FaultServer) -> None:
    """The deadlines are those of the plugins."""
    guarded.settings.update(API_FALLBACK_FIRST_TOKEN_TIMEOUT=15.0, API_FALLBACK_STALL_TIMEOUT=10.0)
    server.fault = "http_500"


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Released at the end, so that no thread of a test hangs for ever."""
    event = threading.Event()
    yield event
    event.set()


class First(ScriptedPlugin):
    """Asked before the scripted plugin of ``guarded``, and says nothing where that one would."""

    @hookimpl(tryfirst=True)
    def on_primary_failure(self) -> Any:
        return self.pieces() if callable(self.pieces) else self.pieces

    @hookimpl
    def fallback_answered(self) -> None:
        """Only the other one keeps records."""


class Waits(First):
    """Has a line for whoever waits."""

    @hookimpl
    def say_while_waiting(self) -> str:
        return "One moment …"


def add(guarded: Guarded, plugin: ScriptedPlugin, pieces: Any) -> None:
    plugin.pieces = pieces
    assert guarded.runtime.plugins.register(plugin, "first")


def hang(never: threading.Event, *before: str) -> Iterator[str]:
    yield from before
    never.wait(60)


def test_a_hook_that_hangs_costs_its_deadline_and_the_next_is_asked(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    add(guarded, First(), lambda: never.wait(60))
    assert ask_http(server.address, True) == "Local text goes on."
    assert any("'first': no text within 15 s" in line for line in guarded.lines)


def test_pieces_that_never_come_cost_their_deadline(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    add(guarded, First(), lambda: hang(never))
    assert ask_http(server.address, True) == "Local text goes on."


def test_one_that_stops_in_the_middle_is_followed_by_the_next(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    add(guarded, First(), lambda: hang(never, "I was just "))
    assert ask_http(server.address, True) == "I was just Local text goes on."
    assert guarded.plugin.asked[0][1].delivered == "I was just "
    assert any("'first': the reply stopped for 10 s" in line for line in guarded.lines)


@pytest.mark.parametrize("error", [BaseException("odd"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
@pytest.mark.parametrize("late", [False, True])
def test_whatever_a_plugin_raises_is_told_with_its_name_and_ends_nothing(
    guarded: Guarded, server: FaultServer, ask_http: Ask, error: BaseException, late: bool
) -> None:
    def breaks() -> Iterator[str]:
        raise error
        yield ""

    def at_once() -> Any:
        raise error

    add(guarded, First(), breaks if late else at_once)
    assert ask_http(server.address, True) == "Local text goes on."
    assert any("Plugin 'first' failed" in line for line in guarded.lines)


def test_a_plugin_that_was_silent_costs_the_next_message_nothing(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    asked = []

    def silent_pieces() -> Iterator[str]:
        asked.append(None)
        return hang(never)

    first = First()
    first.pieces = silent_pieces
    assert guarded.runtime.plugins.register(first, "first", guarded=True)
    for _ in range(2):
        assert ask_http(server.address, True) == "Local text goes on."
    assert len(asked) == 1
    assert any(
        "'first': its on_primary_failure is skipped for 30 s: no text within 15 s" in line for line in guarded.lines
    )
    silent, at_once = guarded.plugin.records
    assert silent.first_text_after >= 15.0, "the time counts from the failure, whoever was asked first"
    assert at_once.first_text_after < 15.0


def test_endless_text_is_ended_as_the_primarys_is(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    def endless() -> Iterator[str]:
        while True:
            yield "And so on. "

    guarded.clock.speed = 10.0  # a busy machine makes no plugin late
    add(guarded, First(), endless)
    said = ask_http(server.address, True)
    assert 2_000 <= len(said) <= 6_000
    assert any("'first' did not end its reply" in line for line in guarded.lines)


def loading(guarded: Guarded, never: threading.Event, seconds: float, *then: str) -> Any:
    """As the local model: it answers at once, and its pieces come when it is loaded."""

    def pieces() -> Iterator[str]:
        never.wait(guarded.clock.real(seconds))
        yield from then

    return lambda: Answer(pieces(), "model", exact=True, keeps_time=True)


def test_a_long_silence_is_broken_by_a_line_and_the_answer_follows(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    add(guarded, Waits(), loading(guarded, never, 18, "Here I am."))
    assert ask_http(server.address, True) == "One moment … Here I am."
    (record,) = guarded.plugin.records
    assert (record.text, record.answered_by) == ("Here I am.", "model")
    assert record.first_text_after >= 12


def test_what_is_not_ready_in_time_ends_the_turn_with_the_line(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    add(guarded, Waits(), loading(guarded, never, 6_000, "Too late."))
    began = guarded.clock.now()
    assert ask_http(server.address, True).strip() == "One moment …"
    assert 24 <= guarded.clock.now() - began < 60
    assert [record.answered_by for record in guarded.plugin.records] == [MEANWHILE]
    assert guarded.plugin.asked == [], "nobody else begins a reply that is over"


def test_a_line_that_is_the_whole_reply_is_not_a_repeat(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Z-Waif would ask again, and the user would wait for the same line once more."""
    remembered("One moment … ", monkeypatch)
    add(guarded, Waits(), loading(guarded, never, 6_000, "Too late."))
    said = ask_http(server.address, True)
    assert said.startswith("One moment … ") and said != "One moment … "
    assert [record.text for record in guarded.plugin.records] == [said]


def remembered(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Z-Waif remembers the last reply."""
    controller = ModuleType("API.api_controller")
    controller.ooga_history = [["Hi", said]]  # type: ignore[attr-defined]
    controller.send_via_oogabooga = print  # type: ignore[attr-defined]
    controller.stored_received_message = said  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "API.api_controller", controller)


def test_a_line_with_an_answer_is_not_a_repeat(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered("One moment … Here I am.", monkeypatch)
    add(guarded, Waits(), loading(guarded, never, 18, "Here I am."))
    said = ask_http(server.address, True)
    assert said.startswith("One moment … Here I am. ")
    assert ["One moment … " + record.text for record in guarded.plugin.records] == [said]


def test_an_answer_that_stops_in_the_middle_is_not_a_repeat(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the line it says a sentence, and then nothing until its time is over."""

    def pieces() -> Iterator[str]:
        never.wait(guarded.clock.real(18))
        yield "Here I am."
        never.wait(guarded.clock.real(6_000))

    remembered("One moment … Here I am.", monkeypatch)
    add(guarded, Waits(), lambda: Answer(pieces(), "model", exact=True, keeps_time=True))
    said = ask_http(server.address, True)
    assert said.startswith("One moment … Here I am. ")
    assert ["One moment … " + record.text for record in guarded.plugin.records] == [said]


def test_nobody_waits_longer_because_several_plugins_are_slow(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    """The first one costs 15 s; the line comes after 12 all the same, and the second one's answer follows."""
    add(guarded, Waits(), lambda: never.wait(60))
    began = time.monotonic()
    response = requests.post(
        f"http://{server.address}/v1/chat/completions", json={"messages": MESSAGES, "stream": True}, stream=True
    )
    lines = response.iter_lines()
    assert b"One moment" in next(lines)
    assert (time.monotonic() - began) * guarded.clock.speed < 15 + 3
    assert b"Local" in b"".join(lines)


def breaks_off() -> Iterator[str]:
    yield "Half a sentence. And then "
    raise ValueError("broke")


def test_a_reply_that_the_server_began_gets_no_line(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    server.fault = IN_THE_MIDDLE[0]
    add(guarded, Waits(), loading(guarded, never, 18, "and so it went on."))
    assert ask_http(server.address, True) == HALF + "and so it went on."


def test_a_reply_that_a_plugin_began_gets_no_line(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    add(guarded, Waits(), breaks_off)
    guarded.plugin.pieces = lambda: loading(guarded, never, 18, "you finished it.")().pieces
    assert ask_http(server.address, True) == "Half a sentence. And then you finished it."
    assert any("'first' failed in the middle of its answer" in line for line in guarded.lines)


def test_a_reply_that_pauses_gets_no_line_and_goes_on(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    def pauses() -> Iterator[str]:
        for word in ("One, ", "two, ", "three."):
            yield word
            never.wait(guarded.clock.real(13))

    guarded.clock.speed = 30.0  # a busy machine does not make the pause twice as long
    add(guarded, Waits(), lambda: Answer(pauses(), "model", exact=True, keeps_time=True))
    assert ask_http(server.address, True) == "One, two, three."


def test_a_reply_that_began_is_kept_when_nobody_goes_on(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    """It was spoken. Z-Waif would forget it if it got an error in its middle."""
    add(guarded, Waits(), breaks_off)
    guarded.plugin.pieces = None
    assert ask_http(server.address, True) == "Half a sentence. And then "
    assert guarded.plugin.records == []


def test_without_a_line_the_answer_is_waited_for(
    guarded: Guarded, server: FaultServer, never: threading.Event, ask_http: Ask
) -> None:
    add(guarded, First(), loading(guarded, never, 60, "Here I am."))
    assert ask_http(server.address, True) == "Here I am."


@pytest.mark.parametrize("library", ["requests", "ollama"])
def test_what_a_plugin_asks_an_llm_itself_is_passed_through(
    guarded: Guarded, server: FaultServer, ask_http: Ask, ask_ollama: Ask, library: str
) -> None:
    """Its server fails too: the plugin sees that, and is not asked to answer its own question."""
    guarded.clock.speed = 10.0  # to make its client may take a plugin half a second
    seen: list[str] = []

    def asks() -> Iterator[str]:
        try:
            if library == "requests":
                body = {"messages": MESSAGES, "stream": True}
                seen.append(str(requests.post(f"http://{server.address}/v1/chat/completions", json=body).status_code))
            else:
                ollama.Client(f"http://{server.address}").chat(model="m", messages=MESSAGES)
        except ollama.ResponseError as error:
            seen.append(str(error.status_code))
        yield "Mine."

    add(guarded, First(), asks)
    assert ask_http(server.address, True) == "Mine."
    assert seen == ["500"]
    assert guarded.plugin.asked == []


def test_a_blank_answer_by_the_only_plugin_leaves_the_failure_to_z_waif(
    guarded: Guarded, server: FaultServer, ask_http: Ask
) -> None:
    """Not an empty reply, which Z-Waif would ask for again."""
    guarded.plugin.pieces = [" "]
    with pytest.raises(requests.ConnectionError):
        ask_http(server.address, True)
    assert guarded.plugin.records == []
