"""``zwaif_hooks.testing``: a plugin's test sees what a user would."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
import requests

import zwaif_hooks as zw
from zwaif_fallback.testing import FakeModel
from zwaif_hooks.testing import FakeClock, FakeHost, FaultServer, ask, cut, request
from zwaif_hooks.testing.fault_talk import HALF, REPLY
from zwaif_hooks.testing.faults import FAULTS

pytest_plugins = ["zwaif_hooks.testing.pytest_plugin"]


class Repeating:
    @zw.hookimpl
    def on_primary_failure(self, request: zw.ChatRequest) -> Iterator[str]:
        return iter(["You said: ", f"{request.messages[-1].content}. ", "Did you?"])


class Failing:
    @zw.hookimpl
    def on_primary_failure(self) -> Iterator[str]:
        yield "Well. "
        raise KeyError("voice")


class Careless:
    KEY = zw.Setting("CARELESS_KEY", "", "A key.", secret=True)

    @zw.hookimpl
    def register_settings(self) -> zw.Setting:
        return self.KEY

    @zw.hookimpl
    def on_primary_failure(self) -> str:
        raise RuntimeError("GET http://127.0.0.1/?key=long-secret-1")


def test_errors_show_no_secret_as_the_console_shows_none() -> None:
    reply = ask(Careless(), "Hello", host=FakeHost({"CARELESS_KEY": "long-secret-1"}))
    (line,) = reply.errors
    assert line.endswith("GET http://127.0.0.1/?key=***")


class Silent:
    def __init__(self) -> None:
        self.over = threading.Event()

    @zw.hookimpl
    def on_primary_failure(self) -> str:
        self.over.wait(20)
        return "Late."


def test_a_reply_is_as_zwaif_gets_it() -> None:
    reply = ask(Repeating(), "hello")
    assert (reply.text, reply.errors) == ("You said: hello. Did you?", [])
    assert reply.record is not None and reply.record.plugin == "repeating"
    again = ask(Repeating(), request("hello", recent_replies=("You said: hello. Did you?",)))
    assert again.text != reply.text and again.text.startswith(reply.text)


def test_the_part_that_was_delivered_is_not_said_again() -> None:
    assert ask(Repeating(), "hello", cut("You said: hello. ")).text == "Did you?"


def test_an_error_is_told_in_words_and_pauses_the_plugin() -> None:
    clock = FakeClock()
    host = FakeHost(clock=clock)
    first = ask(Failing(), "hello", host=host)
    assert first.text == "Well. " and first.record is None
    assert first.errors == [
        "Plugin 'failing' failed in the middle of its answer; its on_primary_failure is skipped for 30 s: "
        "KeyError 'voice'"
    ]
    assert host.ask("hello").text == ""
    clock.advance(31)
    assert host.ask("hello").text == "Well. "


def test_a_late_plugin_is_given_up_on_the_given_clock() -> None:
    silent = Silent()
    reply = ask(silent, "hello", host=FakeHost(clock=FakeClock(speed=100)))
    silent.over.set()
    assert (reply.text, reply.errors) == (
        "",
        ["Plugin 'silent': its on_primary_failure is skipped for 30 s: no text within 15 s"],
    )


def test_settings_are_those_that_the_test_gives(zwaif_host: FakeHost) -> None:
    city = zw.Setting("ATLAS_CITY", "Oslo", "The city.")
    told: list[str] = []

    class Atlas:
        @zw.hookimpl
        def register_settings(self) -> zw.Setting:
            return city

        @zw.hookimpl
        def zwaif_started(self, host: zw.Host) -> None:
            told.append(str(host.settings.get("ATLAS_CITY")))

    for host in (FakeHost({"ATLAS_CITY": "Bergen"}), zwaif_host):
        host.load(Atlas())
    assert told == ["Bergen", "Oslo"]
    zwaif_host.settings.set("ATLAS_CITY", "Rome")
    assert "ATLAS_CITY = Rome" in (zwaif_host.tree / ".env").read_text(encoding="utf-8").replace("'", "")


def test_a_hook_that_only_informs_has_run_when_call_returns() -> None:
    seen: list[str] = []

    class Listener:
        @zw.hookimpl
        def primary_failed(self, primary: str) -> None:
            seen.append(primary)

    host = FakeHost()
    host.load(Listener())
    host.call("primary_failed", primary="127.0.0.1:5000", failure=cut("x"))
    assert seen == ["127.0.0.1:5000"]


class Ears:
    """Answers, and keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    @zw.hookimpl
    def on_primary_failure(self, request: zw.ChatRequest) -> str | None:
        return None if "quiet" in request.messages[-1].content else "One. Two!"

    @zw.hookimpl
    def sentence_spoken(self, text: str, by: str) -> None:
        self.told.append(("spoken", text, by))

    @zw.hookimpl
    def fallback_answered(self, record: zw.AnswerRecord) -> None:
        self.told.append(("answered", record.text))

    @zw.hookimpl
    def turn_finished(self, record: zw.TurnRecord) -> None:
        self.told.append(("finished", record.answered_by, record.cause, str(record.chars)))


def test_ask_tells_each_sentence_and_the_end_of_the_turn() -> None:
    ears = Ears()
    assert ask(ears, "hello").errors == []
    spoken = [("spoken", "One.", "ears"), ("spoken", "Two!", "ears")]
    assert ears.told == [*spoken, ("answered", "One. Two!"), ("finished", "ears", "refused", "9")]


def test_ask_tells_what_the_server_said_before_it_broke_off() -> None:
    ears = Ears()
    ask(ears, "hello", cut("Zero. "))
    assert ears.told[0] == ("spoken", "Zero.", "primary") and ears.told[-1] == ("finished", "ears", "cut", "15")


def test_ask_tells_that_nobody_answered() -> None:
    ears = Ears()
    ask(ears, "be quiet")
    assert ears.told == [("finished", "", "refused", "0")]


@pytest.mark.parametrize(
    ("hook", "arguments", "why"),
    [
        ("primary_fail", {}, "there is no hook 'primary_fail'; did you mean 'primary_failed'?"),
        ("sing", {}, "there is no hook 'sing'"),
        ("primary_failed", {"primary": "x"}, "primary_failed takes primary, failure; got primary"),
        ("zwaif_stopping", {"host": None}, "zwaif_stopping takes no arguments; got host"),
    ],
)
def test_a_wrong_call_says_what_is_right(hook: str, arguments: dict[str, object], why: str) -> None:
    with pytest.raises(TypeError) as raised:
        FakeHost().call(hook, **arguments)
    assert str(raised.value) == why


def test_the_fake_model_gets_the_prompt_of_a_plugin() -> None:
    class Format:
        @zw.hookimpl
        def format_prompt(self, messages: Sequence[zw.Message], model: zw.ModelInfo, partial: str) -> str:
            return "".join(f"<{one.role}>{one.content}" for one in messages) + f"<assistant>{partial}"

    host, model = FakeHost(), FakeModel("I am fine, thank you.")
    host.load(Format())
    model.attach(host)
    reply = host.ask("How are you?")
    assert (reply.text, host.errors) == ("I am fine, thank you.", [])
    assert reply.record is not None and reply.record.plugin == "fallback"
    assert model.prompts[-1].endswith("How are you?<assistant>")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_fault_server_plays_each_of_its_faults(zwaif_server: FaultServer, fault: str) -> None:
    zwaif_server.fault = fault
    said, status, patience = "", 0, 0.5 if fault in ("silence", "stall_in_the_middle") else 20.0
    try:
        url = f"http://{zwaif_server.address}/v1/chat/completions"
        answer = requests.post(url, json={"stream": True}, stream=True, timeout=patience)
        status = answer.status_code
        for line in answer.iter_lines():
            said += line.decode().partition('"content": "')[2].partition('"')[0]
    except requests.RequestException:
        status = status or -1
    expected = {
        "healthy": (200, REPLY),
        "http_500": (500, ""),
        "http_503": (503, ""),
        "silence": (-1, ""),
        "blank_reply": (200, " \\n"),
        "reset_in_the_middle": (200, HALF),
        "stall_in_the_middle": (200, HALF),
    }
    assert (status, said) == expected[fault]
