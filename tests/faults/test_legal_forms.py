"""Every form that a good reply may have on the wire is read, and what only looks like a reply is a failure."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.faults.conftest import Guarded
from tests.helpers.clients import LOCAL, MESSAGES, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import HALF, REPLY, WORDS, FaultServer, Talk
from tests.helpers.odd_forms import BROKEN, CASUAL, READ, as_webui, moved
from zwaif_fallback.answering.second_server import SecondServerClient
from zwaif_fallback.errors import EngineError
from zwaif_hooks.guards import ollama as guard
from zwaif_hooks.guards import swap
from zwaif_hooks.messages import FailureKind, Message

ollama = pytest.importorskip("ollama")
__all__ = ["ask", "ask_http", "ask_ollama"]
STREAM = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
Play = Callable[[Talk], None]
NOTHING = ("\u200b\u200b", "\ufeff", "\x00\x00", "\ufffd\ufffd", "**", "<|im_end|>", "<think>\n\n</think>\n\n")


def line(talk: Talk, **fields: Any) -> None:
    talk.event({"model": "m", "done": False, **fields})


def say(talk: Talk, pieces: list[str], reason: str = "stop", **more: Any) -> None:
    talk.open_stream()
    talk.say(pieces)
    if talk.ollama:
        line(talk, **{"done": True, "done_reason": reason, "message": {"role": "assistant", "content": ""}})
    else:
        talk.event({"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **more}]})
        talk.raw(b"data: [DONE]\n\n")
    talk.end()


# --- Ollama's lines --------------------------------------------------------------------------------------------------


def no_message_at_the_end(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS)
    line(talk, done=True, done_reason="stop")
    talk.end()


def message_null_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:3])
    line(talk, message=None)
    line(talk, message={"role": "assistant", "content": None})
    line(talk, message={"role": "assistant"})
    line(talk, message={"role": "assistant", "content": "", "thinking": "hm"})
    talk.say(WORDS[3:])
    talk.complete()


def no_role(talk: Talk) -> None:
    talk.open_stream()
    for word in WORDS:
        line(talk, message={"content": word})
    talk.complete()


def content_in_parts(talk: Talk) -> None:
    talk.open_stream()
    for word in WORDS:
        line(talk, message={"role": "assistant", "content": [{"type": "text", "text": word}]})
    talk.complete()


def begins_with_a_mark(talk: Talk) -> None:
    talk.open_stream()
    talk.raw(b"\xef\xbb\xbf")
    talk.say(WORDS)
    talk.complete()


@STREAM
@pytest.mark.parametrize(
    "play", [no_message_at_the_end, message_null_in_the_middle, no_role, content_in_parts, begins_with_a_mark]
)
def test_a_line_of_ollama_without_its_parts(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, play: Play, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", play)
    assert ask_ollama(server.address, stream) == REPLY
    assert guarded.plugin.asked == []


@STREAM
@pytest.mark.parametrize("error", [{"code": 502}, {"message": "gone"}, "gone"])
def test_an_error_of_ollama_in_any_form(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, error: Any, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.open_stream()
        talk.say(WORDS[:4])
        talk.event({"error": error})
        talk.end()

    monkeypatch.setattr(server, "play", play)
    assert ask_ollama(server.address, stream) == HALF + LOCAL
    failure = guarded.plugin.asked[0][1]
    assert failure.kind is FailureKind.ERROR_BODY
    assert "gone" in failure.cause or "502" in failure.cause


@STREAM
def test_a_model_that_is_only_loaded_is_answered_locally(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: say(talk, [], "load"))
    assert ask_ollama(server.address, stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.EMPTY


@STREAM
def test_a_model_unloaded_in_the_middle_is_a_cut(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: say(talk, WORDS[:4], "unload"))
    assert ask_ollama(server.address, stream) == HALF + LOCAL


# --- an OpenAI-style server, as the main one and as the second ----------------------------------------------------


@STREAM
@pytest.mark.parametrize("name", [*READ, *BROKEN])
def test_an_unusual_answer_of_the_server(
    guarded: Guarded, server: FaultServer, ask_http: Ask, name: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = READ.get(name) or BROKEN[name]
    guarded.clock.speed = 10.0  # pauses of the server's are not to be taken for its end
    monkeypatch.setattr(server, "play", form.play)
    said = ask_http(server.address, stream)
    if form.kind is None:
        assert (said, guarded.plugin.asked) == (form.said, [])
        return
    ((_, failure),) = guarded.plugin.asked
    assert (failure.kind, failure.delivered) == (form.kind, form.said)
    assert form.cause in failure.cause
    assert said.startswith(form.said)
    assert said.endswith(LOCAL)


@pytest.mark.parametrize("name", [*READ, *BROKEN])
def test_an_unusual_answer_of_the_second_server(
    server: FaultServer, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = READ.get(name) or BROKEN[name]
    monkeypatch.setattr(server, "play", form.play)
    said, error = "", None
    try:
        for text in SecondServerClient(server.address, "m").stream([Message("user", "Hello")]):
            said += text
    except EngineError as caught:
        error = caught
    assert said == form.said
    assert (error is None) == (form.kind is None)
    assert form.cause in str(error)


def test_a_request_that_was_moved_is_followed_by_the_client_and_not_by_the_second_server(
    guarded: Guarded, server: FaultServer, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", moved)
    assert ask_http(server.address, True) == REPLY
    assert guarded.plugin.asked == []
    with pytest.raises(EngineError):
        list(SecondServerClient(server.address, "m").stream([Message("user", "Hello")]))


@STREAM
@pytest.mark.parametrize("text", CASUAL)
def test_no_guess_about_the_end_of_a_reply(
    guarded: Guarded, server: FaultServer, ask: Ask, text: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for play in (lambda talk: say(talk, list(text)), as_webui(text)):
        monkeypatch.setattr(
            server, "play", lambda talk, play=play: play(talk) if not talk.ollama else say(talk, [text])
        )
        assert ask(server.address, stream) == text
    assert guarded.plugin.asked == []


# --- both ------------------------------------------------------------------------------------------------------------


def written(talk: Talk, text: str) -> bytes:
    if talk.ollama:
        obj: Any = {"model": "m", "done": False, "message": {"role": "assistant", "content": text}}
    else:
        obj = {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}
    data = json.dumps(obj, ensure_ascii=False).encode()
    return data + b"\n" if talk.ollama else b"data: " + data + b"\n\n"


@STREAM
def test_bytes_that_are_no_text_are_replaced(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.open_stream()
        talk.say(WORDS[:3])
        talk.raw(written(talk, "X ").replace(b"X", b"\xe2\x9c\x85\x85"))
        talk.raw(written(talk, "one\u0085two\u2028three "))
        talk.say(WORDS[3:])
        talk.complete()

    monkeypatch.setattr(server, "play", play)
    between = "\u2705\ufffd one\u0085two\u2028three "
    assert ask(server.address, stream) == "".join([*WORDS[:3], between, *WORDS[3:]])
    assert guarded.plugin.asked == []


@STREAM
@pytest.mark.parametrize("status", [b"102 Processing", b"103 Early Hints"])
def test_an_answer_that_is_announced_first(
    guarded: Guarded, server: FaultServer, ask: Ask, status: bytes, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.wfile.write(b"HTTP/1.1 " + status + b"\r\nLink: </x>; rel=preload\r\n\r\n")
        say(talk, WORDS)

    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == REPLY
    assert guarded.plugin.asked == []


@STREAM
@pytest.mark.parametrize("text", NOTHING)
def test_a_reply_with_nothing_to_say_is_answered_locally(
    guarded: Guarded, server: FaultServer, ask: Ask, text: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: say(talk, list(text)))
    assert ask(server.address, stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.EMPTY


@STREAM
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("今日はとてもいい天気ですね。公園を散歩して、それから二人でおいしいケーキを", "length"),
        ("วันนี้อากาศดีมากเลยฉันอยากไปเดินเล่นในสวนสาธารณะกับเธอ", "length"),
        ("ich mach mir gleich einen tee und dann fang ich mit dem kochen an", "stop"),
        ("<3", "stop"),
        ("*smiles*", "stop"),
        ("<|hm|> that is odd", "stop"),
        ("assistant\n\nThe primary's own words stay.", "stop"),
        ("<think>\nOkay.</think>\n\nThe primary's own words stay.", "stop"),
        ("<think>\nOkay, the user says hello and I", "length"),
        ("...", "stop"),
    ],
)
def test_the_primarys_own_words_stay_as_they_are(
    guarded: Guarded,
    server: FaultServer,
    ask: Ask,
    text: str,
    reason: str,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: say(talk, list(text), reason))
    assert ask(server.address, stream) == text
    assert guarded.plugin.asked == []


# --- an end without a mark -------------------------------------------------------------------------------------------


def unmarked(talk: Talk, text: str, place: dict[str, Any], ends: bool = True) -> None:
    """A stream that never says that it is finished; without its last chunk where it does not ``ends`` as it should."""
    talk.open_stream()
    for word in text.split(" "):
        piece = word if text.startswith(word) else f" {word}"
        talk.event({"choices": [{"index": 0, "delta": {"content": piece}, **place}]})
    if ends:
        talk.end()
    else:
        talk.abort()


@STREAM
def test_the_end_of_the_answer_is_the_end_of_the_reply(
    guarded: Guarded, server: FaultServer, ask_http: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: unmarked(talk, CASUAL[0], {}))
    assert ask_http(server.address, stream) == CASUAL[0]
    assert guarded.plugin.asked == []
    assert guarded.runtime.primaries.get(server.address).status().state == "healthy"


@STREAM
@pytest.mark.parametrize("text", ["I am well.", "*waves*", "元気です。"])
def test_a_whole_sentence_of_a_server_that_is_well_is_a_reply(
    guarded: Guarded, server: FaultServer, ask: Ask, text: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask(server.address, stream) == REPLY
    monkeypatch.setattr(server, "play", lambda talk: (talk.open_stream(), talk.text(text), talk.end()))
    assert ask(server.address, stream) == text
    assert guarded.plugin.asked == []


@STREAM
@pytest.mark.parametrize(
    ("place", "ends"), [({"finish_reason": None}, True), ({"finish_reason": None}, False), ({}, False)]
)
def test_a_reply_that_is_cut_before_its_mark_goes_on_locally(
    guarded: Guarded,
    server: FaultServer,
    ask_http: Ask,
    place: dict[str, Any],
    ends: bool,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: unmarked(talk, CASUAL[0], place, ends))
    assert ask_http(server.address, stream) == f"{CASUAL[0]} {LOCAL}"
    assert guarded.plugin.asked[0][1].kind is FailureKind.CUT


def test_a_server_that_says_when_it_is_finished_is_held_to_it(
    guarded: Guarded, server: FaultServer, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ask_http(server.address, True) == REPLY
    monkeypatch.setattr(server, "play", lambda talk: unmarked(talk, CASUAL[0], {}))
    assert ask_http(server.address, True) == f"{CASUAL[0]} {LOCAL}"


@STREAM
def test_a_reply_without_a_mark_stays_as_it_is_while_the_server_marks_the_answer_to_a_neutral_question(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        is_neutral = talk.request_body["messages"][-1]["content"] == "Hi"
        talk.open_stream()
        talk.say(["Hi "] * 40 if is_neutral else [CASUAL[0]])  # some write more than the token asked for
        talk.complete() if is_neutral else talk.end()

    monkeypatch.setattr(server, "play", play)
    for _ in range(3):
        assert ask(server.address, stream) == CASUAL[0]
    assert guarded.plugin.asked == []
    neutral = [body for body in server.asked if body["messages"][-1]["content"] == "Hi"]
    assert len(neutral) == 1, "it is believed from then on"


@STREAM
@pytest.mark.parametrize("text", [CASUAL[0], " ", "Sorry, I'm having connection issues right now"])
def test_with_nobody_to_answer_a_reply_that_raises_nothing_without_us_stays_as_it_is(
    guarded: Guarded, server: FaultServer, ask: Ask, text: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.plugin.pieces = None
    monkeypatch.setattr(server, "play", lambda talk: (talk.open_stream(), talk.text(text), talk.end()))
    assert ask(server.address, stream) == text


# --- connections and addresses ---------------------------------------------------------------------------------------


@STREAM
def test_a_kept_connection_that_died_is_replaced(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server closes it just when the next question comes."""
    client = ollama.Client(host=f"http://{server.address}")

    def play(talk: Talk) -> None:
        if len(server.asked) == 2:
            talk.abort()
        else:
            say(talk, WORDS)

    monkeypatch.setattr(server, "play", play)
    for _ in range(2):
        reply: Any = client.chat(model="m", messages=MESSAGES, stream=stream)
        text = "".join(part["message"]["content"] for part in reply) if stream else reply.message.content
        assert text == REPLY
    assert len(server.asked) == 3
    assert guarded.plugin.asked == []


def test_a_fresh_connection_that_dies_is_a_failure(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: talk.abort())
    assert ask_ollama(server.address, True) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.CUT


@pytest.fixture
def address_of(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    guard.install(sys.modules["ollama._client"], guarded.runtime)

    def address(host: str) -> str:
        monkeypatch.setenv("OLLAMA_HOST", host)
        return guard._server_of(ollama.Client(), guarded.runtime.settings).address

    yield address
    swap.restore(ollama.Client, "chat")


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("", "127.0.0.1:11434"),
        ("1.2.3.4", "1.2.3.4:11434"),
        (":56789", "127.0.0.1:56789"),
        ("1.2.3.4:56789", "1.2.3.4:56789"),
        ("http://1.2.3.4", "1.2.3.4:80"),
        ("https://1.2.3.4", "1.2.3.4:443"),
        ("https://example.com/ollama", "example.com:443"),
        ("example.com:56789/path/", "example.com:56789"),
        ("[::1]", "[::1]:11434"),
        ("[::1]:56789", "[::1]:56789"),
        ("https://[::1]", "[::1]:443"),
    ],
)
def test_ollamas_address_in_all_its_forms(address_of: Callable[[str], str], host: str, address: str) -> None:
    assert address_of(host) == address
