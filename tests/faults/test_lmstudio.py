"""The real ``lmstudio`` library against a server that speaks its protocol and fails: read as Z-Waif reads."""

from __future__ import annotations

import html
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.conftest import Guarded, begin_outage
from zwaif_hooks.messages import ChatRequest, FailureKind, Message, Purpose
from zwaif_hooks.specs import hookimpl

lms = pytest.importorskip("lmstudio")
pytest.importorskip("wsproto")

import lmstudio.sync_api as library  # noqa: E402

from tests.helpers.fault_server import HALF, REPLY  # noqa: E402
from tests.helpers.lmstudio_client import CONFIG, HISTORY, ask, installed, studio  # noqa: E402
from tests.helpers.lmstudio_rows import BEFORE_TEXT, IN_THE_MIDDLE  # noqa: E402
from tests.helpers.lmstudio_server import REPLY_TOKENS, WITHOUT_END, LMStudioServer, Talk  # noqa: E402

__all__ = ["installed", "studio"]

LOCAL = "Local text goes on."
PNG = b"\x89PNG\r\n\x1a\n" + b"\x00" * 32
PATIENT, IMPATIENT, LONG_PAUSE = 1000.0, 30.0, 150.0
"""Seconds of a clock on which a hundred pass in one; only what hangs is waited for in full. Between two words that are
there a busy machine may need long."""
HANGS = ("silence", "load_hangs", "stall_in_the_middle")
BOTH_WAYS = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


@pytest.fixture(autouse=True)
def patient(guarded: Guarded, installed: None) -> None:
    wait_for(guarded, PATIENT)


def take_time(guarded: Guarded) -> None:
    """To be called first: on a slower clock. The library needs a quarter of a second to make a client where others are
    at work too, in Wine a second, and a probe is not to be given up for that."""
    guarded.clock.speed = 4.0


def wait_for(guarded: Guarded, first_token: float, stall: float = PATIENT) -> None:
    guarded.settings["API_FALLBACK_FIRST_TOKEN_TIMEOUT"] = first_token
    guarded.settings["API_FALLBACK_STALL_TIMEOUT"] = stall


@BOTH_WAYS
def test_a_healthy_reply_comes_from_lm_studio(guarded: Guarded, studio: LMStudioServer, stream: bool) -> None:
    assert ask(stream) == REPLY
    assert ask(stream) == REPLY
    assert guarded.plugin.asked == []
    assert len(studio.asked) == 2


@BOTH_WAYS
@pytest.mark.parametrize("fault", BEFORE_TEXT)
def test_a_failure_before_the_first_word_is_answered_locally(
    guarded: Guarded, studio: LMStudioServer, fault: str, stream: bool
) -> None:
    studio.fault = fault
    wait_for(guarded, IMPATIENT if fault in HANGS else PATIENT)
    assert ask(stream) == LOCAL
    ((_, failure),) = guarded.plugin.asked
    assert failure.delivered == ""
    assert failure.cause
    assert len(guarded.plugin.records) == 1


@BOTH_WAYS
@pytest.mark.parametrize("fault", IN_THE_MIDDLE)
def test_a_failure_in_the_middle_is_continued_from_that_character(
    guarded: Guarded, studio: LMStudioServer, fault: str, stream: bool
) -> None:
    studio.fault = fault
    wait_for(guarded, PATIENT, LONG_PAUSE if fault in HANGS else PATIENT)
    assert ask(stream) == HALF + LOCAL
    ((_, failure),) = guarded.plugin.asked
    assert failure.delivered == HALF


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("no_such_model", FailureKind.MISCONFIGURED),
        ("silence", FailureKind.FIRST_TOKEN_TIMEOUT),
        ("load_hangs", FailureKind.FIRST_TOKEN_TIMEOUT),
        ("blank", FailureKind.EMPTY),
        ("failed", FailureKind.CUT),
        ("channel_closed", FailureKind.CUT),
        ("error_event", FailureKind.ERROR_BODY),
    ],
)
def test_what_went_wrong_is_told_apart(guarded: Guarded, studio: LMStudioServer, fault: str, kind: FailureKind) -> None:
    studio.fault = fault
    wait_for(guarded, IMPATIENT if fault in HANGS else PATIENT)
    ask(True)
    assert guarded.plugin.asked[0][1].kind is kind


@BOTH_WAYS
def test_refused(guarded: Guarded, studio: LMStudioServer, stream: bool) -> None:
    studio.stop()
    assert ask(stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.REFUSED
    assert ask(stream) == LOCAL
    assert guarded.plugin.asked[1][1].kind is FailureKind.OPEN


def test_a_connection_whose_other_end_went_away_is_not_asked_for_ever(guarded: Guarded, studio: LMStudioServer) -> None:
    take_time(guarded)
    wait_for(guarded, IMPATIENT, 20.0)
    studio.fault = "half_a_frame"
    assert ask(True) == HALF + LOCAL
    studio.fault = "healthy"
    assert ask(True) == LOCAL
    assert guarded.plugin.recovered.wait(10)
    assert ask(True) == REPLY


@BOTH_WAYS
@pytest.mark.parametrize("greeting", WITHOUT_END)
def test_something_else_at_that_port_that_never_ends(
    guarded: Guarded, studio: LMStudioServer, greeting: str, stream: bool
) -> None:
    """The library would read on for ever, in a thread that nobody can stop."""
    wait_for(guarded, 1e7)
    studio.greeting = greeting
    assert ask(stream) == LOCAL
    assert studio.hung_up.wait(20)


@BOTH_WAYS
@pytest.mark.parametrize("greeting", ["no", "hang"])
def test_something_else_at_that_port(guarded: Guarded, studio: LMStudioServer, greeting: str, stream: bool) -> None:
    studio.greeting = greeting
    wait_for(guarded, IMPATIENT if greeting == "hang" else PATIENT)
    assert ask(stream) == LOCAL


@BOTH_WAYS
def test_a_busy_lm_studio_is_greeted_twice(guarded: Guarded, studio: LMStudioServer, stream: bool) -> None:
    """The library takes one that is too busy to say who it is within a second for one that is not there."""
    studio.greeting = "no, then ok"
    assert ask(stream) == REPLY
    assert guarded.plugin.asked == []


@BOTH_WAYS
def test_an_end_that_the_library_does_not_know_is_an_end(
    guarded: Guarded, studio: LMStudioServer, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk, loading: bool) -> None:
        if loading:
            return talk.loaded()
        talk.say([REPLY])
        talk.complete("aReasonOfTomorrow")

    monkeypatch.setattr(studio, "play", play)
    assert ask(stream) == REPLY
    assert guarded.plugin.asked == []


@BOTH_WAYS
def test_the_library_s_poisoned_client_is_forgotten(guarded: Guarded, studio: LMStudioServer, stream: bool) -> None:
    """Without the guard one failure makes every later call fail, though LM Studio is back."""
    take_time(guarded)
    assert ask(stream) == REPLY
    port = studio.port
    studio.stop()
    assert ask(stream) == LOCAL
    with LMStudioServer(port):
        assert guarded.plugin.recovered.wait(20)
        assert ask(stream) == REPLY


@BOTH_WAYS
def test_a_restarted_lm_studio_is_asked_through_a_new_connection(
    guarded: Guarded, studio: LMStudioServer, stream: bool
) -> None:
    assert ask(stream) == REPLY
    port = studio.port
    studio.stop()
    with LMStudioServer(port):
        assert ask(stream) == REPLY
    assert guarded.plugin.asked == []


@BOTH_WAYS
def test_a_kept_connection_that_breaks_with_the_question_is_replaced_once(
    guarded: Guarded, studio: LMStudioServer, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    healthy, broken = studio.play, [2]

    def play(talk: Talk, loading: bool) -> None:
        if loading and len(studio.asked) % 2 and broken[0]:
            broken[0] -= 1
            talk.reset()
        healthy(talk, loading)

    monkeypatch.setattr(studio, "play", play)
    assert ask(stream) == REPLY
    assert ask(stream) == LOCAL, "the new connection broke as well"
    assert broken == [0]
    ((_, failure),) = guarded.plugin.asked
    assert failure.kind is FailureKind.REFUSED


def test_a_failed_reply_leaves_the_replies_of_others_alone(guarded: Guarded, studio: LMStudioServer) -> None:
    """They share one client, and to forget it would close it under them."""
    studio.fault = "stall_in_the_middle"
    other = lms.llm("m").respond_stream(lms.Chat.from_history(HISTORY), config=CONFIG)
    assert next(iter(other)).content == "The "
    client = library._default_client
    studio.fault = "error_event"
    with ThreadPoolExecutor(1) as somebody_else:
        assert somebody_else.submit(ask, True).result() == LOCAL
    assert client is not None and library._default_client is client
    other.close()


def test_the_client_is_poisoned_without_the_guard(guarded: Guarded, studio: LMStudioServer) -> None:
    """What the test above is for; should this fail one day, the guard may forget less."""
    guarded.settings["API_FALLBACK_ENABLED"] = False
    assert ask(False) == REPLY
    port = studio.port
    studio.stop()
    with pytest.raises(lms.LMStudioError):
        ask(False)
    with LMStudioServer(port), pytest.raises(lms.LMStudioError):
        ask(False)


def test_the_request_is_told_in_our_words(guarded: Guarded, studio: LMStudioServer) -> None:
    studio.fault = "failed"
    ask(False)
    request = guarded.plugin.asked[0][0]
    assert request.backend == "lmstudio"
    assert [(m.role, m.content) for m in request.messages] == [
        ("system", "You are Mia."),
        ("user", "Hello"),
        ("assistant", "Hi!"),
        ("user", "How are you?"),
    ]
    assert (request.max_tokens, request.sampling.temperature, request.sampling.top_k) == (120, 0.7, 40)
    assert request.persona_in_messages
    assert request.primary == studio.address


@BOTH_WAYS
def test_a_plugin_changes_what_is_sent(guarded: Guarded, studio: LMStudioServer, stream: bool) -> None:
    class Changer:
        @hookimpl
        def before_request(self, request: ChatRequest) -> ChatRequest:
            sampling = replace(request.sampling, temperature=0.25)
            messages = (*request.messages[:-1], Message("user", "Louder!"))
            return replace(request, messages=messages, max_tokens=77, sampling=sampling)

    guarded.runtime.plugins.register(Changer(), "changer")
    assert ask(stream) == REPLY
    sent = studio.asked[-1]
    texts = ["".join(part["text"] for part in message["content"]) for message in sent["history"]["messages"]]
    assert texts == ["You are Mia.", "Hello", "Hi!", "Louder!"]
    assert "0.25" in str(sent) and "77" in str(sent)


def test_a_whole_reply_serves_wherever_the_library_s_own_does(guarded: Guarded, studio: LMStudioServer) -> None:
    reply = lms.llm("m").respond(lms.Chat.from_history(HISTORY), config=CONFIG)
    assert reply.content == REPLY
    assert reply.stats.stop_reason == "eosFound"
    assert html.unescape(reply) == REPLY


def test_a_reply_goes_back_into_a_history_and_to_the_server(studio: LMStudioServer) -> None:
    reply = html.unescape(lms.llm("m").respond(lms.Chat.from_history(HISTORY), config=CONFIG))
    again = {"messages": [*HISTORY["messages"], {"role": "assistant", "content": reply}]}
    assert ask(True, lms.Chat.from_history(again)) == REPLY
    assert len(studio.asked) == 2


def test_switched_off_the_library_is_itself(guarded: Guarded, studio: LMStudioServer) -> None:
    guarded.settings["API_FALLBACK_ENABLED"] = False
    assert isinstance(lms.llm("m"), lms.LLM)
    studio.fault = "error_event"
    with pytest.raises(lms.LMStudioError):
        ask(False)
    assert guarded.plugin.asked == []


@BOTH_WAYS
def test_when_nobody_answers_the_host_sees_the_library_s_own_error(
    guarded: Guarded, studio: LMStudioServer, stream: bool
) -> None:
    guarded.plugin.pieces = None
    studio.fault = "error_event"
    with pytest.raises(lms.LMStudioError):
        ask(stream)


def test_leaving_a_stream_behind_cancels_the_prediction(guarded: Guarded, studio: LMStudioServer) -> None:
    studio.fault = "stall_in_the_middle"
    stream = lms.llm("m").respond_stream(lms.Chat.from_history(HISTORY), config=CONFIG)
    assert next(iter(stream)).content == "The "
    stream.close()
    assert studio.cancelled.wait(10)
    assert guarded.plugin.asked == []


def test_a_stream_dropped_before_its_first_read_is_cancelled(guarded: Guarded, studio: LMStudioServer) -> None:
    studio.fault = "stall_in_the_middle"
    stream = lms.llm("m").respond_stream(lms.Chat.from_history(HISTORY), config=CONFIG)
    studio.be_asked()
    del stream
    assert studio.cancelled.wait(10)


def test_giving_up_on_a_stalled_reply_cancels_the_prediction(guarded: Guarded, studio: LMStudioServer) -> None:
    studio.fault = "stall_in_the_middle"
    wait_for(guarded, PATIENT, LONG_PAUSE)
    assert ask(True) == HALF + LOCAL
    assert studio.cancelled.wait(10)


def test_a_model_that_is_loading_is_waited_for(guarded: Guarded, studio: LMStudioServer) -> None:
    """Progress is no word, so the fallback starts as well; LM Studio is heard when it speaks first."""

    def local() -> Iterator[str]:
        studio.release.set()
        studio.stopping.wait(20)
        yield LOCAL

    guarded.plugin.pieces = local
    studio.fault = "loads_first"
    guarded.settings["API_FALLBACK_FIRST_TOKEN_TIMEOUT"] = IMPATIENT
    assert ask(True) == REPLY
    assert guarded.plugin.records == []
    assert guarded.runtime.primaries.get(studio.address).status().state == "healthy"


def test_a_reply_without_end_is_cancelled_when_nobody_reads_it(guarded: Guarded, studio: LMStudioServer) -> None:
    studio.fault = "endless"
    stream = lms.llm("m").respond_stream(lms.Chat.from_history(HISTORY), config=CONFIG)
    fragments = iter(stream)
    assert [next(fragments).content for _ in range(500)] == ["hello. "] * 500
    stream.close()
    assert studio.cancelled.wait(20)
    assert guarded.plugin.asked == []


@pytest.mark.parametrize("loaded", [["m"], []], ids=["in memory", "unloaded"])
def test_a_probe_never_loads_what_the_user_has_unloaded(
    guarded: Guarded, studio: LMStudioServer, loaded: list[str]
) -> None:
    take_time(guarded)
    studio.loaded, studio.fault = loaded, "error_event"
    assert ask(True) == LOCAL
    begin_outage(guarded, studio.address)
    studio.fault = "healthy"
    before = len(studio.asked)
    assert guarded.plugin.recovered.wait(20)
    assert (len(studio.asked) > before) == bool(loaded)
    assert ask(True) == REPLY


def test_the_record_has_the_tokens_that_lm_studio_counted(guarded: Guarded, studio: LMStudioServer) -> None:
    ask(True)
    (record,) = guarded.runtime.records.recent()
    assert (record.primary_tokens, record.primary_tokens_estimated) == (REPLY_TOKENS, False)


# --- pictures --------------------------------------------------------------------------------------------------------


def with_picture(tmp_path: Path) -> Any:
    picture = tmp_path / "LiveImage.png"
    picture.write_bytes(PNG)
    chat = lms.Chat.from_history(HISTORY)
    chat.add_user_message("What do you see?", images=[lms.prepare_image(str(picture))])
    return chat


@BOTH_WAYS
def test_a_picture_reaches_lm_studio(guarded: Guarded, studio: LMStudioServer, tmp_path: Path, stream: bool) -> None:
    assert ask(stream, with_picture(tmp_path)) == REPLY
    assert "picture-1" in str(studio.asked[0])


@BOTH_WAYS
@pytest.mark.parametrize("how", ["refused", "error", "hang", "reset"])
def test_a_picture_that_cannot_be_sent_is_answered_without_eyes(
    guarded: Guarded, studio: LMStudioServer, tmp_path: Path, how: str, stream: bool
) -> None:
    if how == "refused":
        studio.stop()
    elif how == "reset":
        studio.fault = "reset"
    else:
        studio.upload = how
        wait_for(guarded, IMPATIENT if how == "hang" else PATIENT)
        studio.fault = "error_event"
    assert ask(stream, with_picture(tmp_path)) == LOCAL
    request = guarded.plugin.asked[0][0]
    assert request.has_image
    assert request.picture is not None
    assert Path(request.picture.path).name == "LiveImage.png"
    assert request.purpose is Purpose.IMAGE
    assert request.messages[-1].content.endswith("What do you see?")
