"""What is no chat server at all, or one that sends (or takes) without end: told at the level of bytes."""

from __future__ import annotations

import contextlib
import io
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable, Iterator

import pytest
import requests

from tests.faults.conftest import Guarded, begin_outage
from tests.helpers.clients import LOCAL, Ask, ask, ask_http, ask_ollama
from tests.helpers.fault_server import HALF, REPLY, WORDS, FaultServer, Talk
from zwaif_hooks.guards import empty_reply
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network import httpx_backend, patient_sockets, requests_adapter, sse

ollama = pytest.importorskip("ollama")
__all__ = ["ask", "ask_http", "ask_ollama"]
STREAM = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
NOT_LONG = 10.0
"""Seconds of real time: what would wait for a deadline here waits for hours."""
SMALL = 1 << 20


def test_what_was_not_taken_by_a_read_comes_with_the_stream(server: FaultServer, ask_http: Ask) -> None:
    url, body = f"http://{server.address}/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}
    begun, whole = (requests.post(url, json={**body, "stream": True}, stream=True) for _ in range(2))
    assert begun.raw.read(4) + b"".join(begun.iter_content(None)) == whole.content


def flood(talk: Talk, data: bytes) -> None:
    with contextlib.suppress(OSError):
        while not talk.server.stopping.is_set():
            talk.wfile.write(data * 100)
    talk.server.hung_up.set()
    talk.close_connection = True


def explained_without_end(talk: Talk) -> None:
    talk.send_response(503)
    talk.end_headers()
    flood(talk, b"busy ")


def explained_slowly(talk: Talk) -> None:
    talk.send_response(503)
    talk.end_headers()
    with contextlib.suppress(OSError):
        while not talk.server.stopping.wait(0.005):
            talk.wfile.write(b"busy ")
    talk.close_connection = True


def not_explained(talk: Talk) -> None:
    talk.send_response(503)
    talk.send_header("Content-Length", "100")
    talk.end_headers()
    talk.be_silent()


@STREAM
@pytest.mark.parametrize("play", [explained_without_end, explained_slowly, not_explained])
def test_an_explanation_of_an_error_is_not_waited_for(
    guarded: Guarded,
    server: FaultServer,
    ask: Ask,
    play: Callable[[Talk], None],
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "play", play)
    began = time.monotonic()
    assert ask(server.address, stream) == LOCAL
    assert time.monotonic() - began < NOT_LONG
    failure = guarded.plugin.asked[0][1]
    assert (failure.kind, failure.status) == (FailureKind.HTTP_ERROR, 503)


@STREAM
def test_an_explanation_counts_as_far_as_it_comes(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.send_response(503)
        talk.send_header("Content-Length", "1000")
        talk.end_headers()
        talk.wfile.write(b'{"error": "No model is loaded."}')
        talk.be_silent()

    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.NO_MODEL


def test_a_probe_does_not_wait_for_an_explanation_either(
    guarded: Guarded, server: FaultServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs in a thread that may block; a server that is well again would be hidden as long as it does."""

    def play(talk: Talk) -> None:
        not_explained(talk) if len(server.asked) < 5 else FaultServer.play(server, talk)

    monkeypatch.setattr("zwaif_hooks.failover.probe.PROBE_PATIENCE", (1e7,))
    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, False) == LOCAL
    begin_outage(guarded, server.address)
    assert guarded.plugin.recovered.wait(20)


HEADERS = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
FLOODS = {
    "a header": (HEADERS, b"X-More: of the same\r\n"),
    "a header line": (HEADERS + b"X-More: ", b"of the same "),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "spaces": (HEADERS + b"\r\n", b" " * 100),
    "a body": (HEADERS + b"\r\n" + b'{"a": "', b"x" * 100),
    "a line": (HEADERS + b"\r\n" + b'data: {"a": "', b"x" * 100),
    "comments": (HEADERS + b"\r\n", b": ping\n\n"),
    "redirections": (b"HTTP/1.1 302 Found\r\nLocation: /v1/chat/completions\r\n\r\n", b"x" * 100),
}


@STREAM
@pytest.mark.parametrize("what", FLOODS)
def test_what_never_ends_is_ended_before_it_fills_the_memory(
    guarded: Guarded, server: FaultServer, ask: Ask, what: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        beginning, more = FLOODS[what]
        talk.wfile.write(beginning)
        flood(talk, more)

    for module in (patient_sockets, httpx_backend):
        monkeypatch.setattr(module, "MOST_BYTES", SMALL)
    monkeypatch.setattr(sse, "MOST_AT_ONCE", SMALL)
    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == LOCAL
    assert server.hung_up.wait(20)


@STREAM
def test_a_line_without_end_in_the_middle_is_a_cut(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.send_response(200)
        talk.send_header("Transfer-Encoding", "chunked")
        talk.end_headers()
        talk.say(WORDS[:4])
        talk.raw(b'{"a": "' if talk.ollama else b'data: {"a": "')
        flood(talk, b"64\r\n" + b"x" * 100 + b"\r\n")

    for module in (patient_sockets, httpx_backend):
        monkeypatch.setattr(module, "MOST_BYTES", SMALL)
    monkeypatch.setattr(sse, "MOST_AT_ONCE", SMALL)
    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == HALF + LOCAL
    assert server.hung_up.wait(20)


@contextlib.contextmanager
def listening(greeting: bytes) -> Iterator[str]:
    """Something else that took the port: it says what it is, and then waits for whoever does not hang up."""
    over = threading.Event()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while not over.is_set():
                connection, _ = door.accept()
                kept.append(connection)
                connection.sendall(greeting)

    kept: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as door:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{door.getsockname()[1]}"
        finally:
            over.set()
            for sock in (door, *kept):
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
                sock.close()


@STREAM
@pytest.mark.parametrize("greeting", [b"SSH-2.0-OpenSSH_9.6\r\n", b"220 ready\r\n", b"\x15\x03\x01\x00\x02\x02\x46"])
def test_something_else_at_the_port_is_known_at_its_first_word(
    guarded: Guarded, ask: Ask, greeting: bytes, stream: bool
) -> None:
    with listening(greeting) as address:
        began = time.monotonic()
        assert ask(address, stream) == LOCAL
        assert time.monotonic() - began < NOT_LONG
    assert guarded.plugin.asked[0][1].kind is FailureKind.CUT


@STREAM
def test_an_answer_whose_first_bytes_come_one_by_one_is_an_answer(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n":
            talk.wfile.write(bytes([byte]))
        talk.send_header("Transfer-Encoding", "chunked")
        talk.end_headers()
        talk.say(WORDS)
        talk.complete()

    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == REPLY


@STREAM
def test_a_server_that_takes_no_more_of_the_question_meets_the_deadline(
    guarded: Guarded, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is stopped; what fits between the two is taken all the same, but a picture does not fit."""
    guarded.settings["API_FALLBACK_FIRST_TOKEN_TIMEOUT"] = 15.0
    monkeypatch.setattr("tests.helpers.clients.MESSAGES", [{"role": "user", "content": "x" * 20_000_000}])
    with socket.create_server(("127.0.0.1", 0)) as door:
        assert ask(f"127.0.0.1:{door.getsockname()[1]}", stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.FIRST_TOKEN_TIMEOUT


@STREAM
def test_a_long_question_is_taken_by_a_server_that_reads(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = "x" * 20_000_000
    monkeypatch.setattr("tests.helpers.clients.MESSAGES", [{"role": "user", "content": long}])
    assert ask(server.address, stream) == REPLY
    assert server.asked[0]["messages"][0]["content"] == long


def test_an_explanation_that_is_asked_for_afterwards_may_not_end(
    server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that asks why would stay for ever, and keep what it is told."""

    def look(talk: Talk) -> None:
        talk.send_response(200)
        talk.end_headers()
        flood(talk, b" ")

    for module in (patient_sockets, httpx_backend):
        monkeypatch.setattr(module, "MOST_BYTES", SMALL)
    monkeypatch.setattr(empty_reply, "SECONDS", 0.2)
    monkeypatch.setattr(Talk, "do_GET", look)
    monkeypatch.setattr(server, "play", explained_slowly)
    with requests.Session() as session:
        send = requests_adapter.watched_session(session).request
        url = f"http://{server.address}/v1/chat/completions"
        assert empty_reply.reason_of(send, url, {"messages": []}, server.address) is None
        assert server.hung_up.wait(20)


@STREAM
def test_a_full_context_window_is_no_end_of_a_reply(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty tokens were asked for, one came, and the server calls that long enough."""

    def play(talk: Talk) -> None:
        talk.open_stream()
        talk.say(WORDS[:1])
        if talk.ollama:
            last = {"role": "assistant", "content": ""}
            talk.event({"model": "m", "done": True, "done_reason": "length", "message": last})
        else:
            talk.event({"choices": [{"delta": {}, "finish_reason": "length"}]})
        talk.end()

    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == WORDS[0] + LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.CUT


@STREAM
@pytest.mark.parametrize("reason", ["error", "abort"])
def test_a_reply_that_the_server_broke_off_goes_on(
    guarded: Guarded, server: FaultServer, ask: Ask, reason: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.open_stream()
        talk.say(WORDS[:4])
        if talk.ollama:
            last = {"role": "assistant", "content": ""}
            talk.event({"model": "m", "done": True, "done_reason": reason, "message": last})
        else:
            talk.event({"choices": [{"delta": {}, "finish_reason": reason}]})
            talk.raw(b"data: [DONE]\n\n")
        talk.end()

    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == HALF + LOCAL


@STREAM
def test_what_came_of_a_chunk_that_breaks_off_is_text(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy may put the whole reply into one chunk, which it announces first; its words come one by one all the
    same, and those that came are said."""

    def play(talk: Talk) -> None:
        talk.open_stream()
        talk.wfile.write(b"ffff\r\n")
        monkeypatch.setattr(talk, "raw", talk.wfile.write)
        talk.say(WORDS[:4])
        talk.abort()

    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == HALF + LOCAL


def test_text_is_passed_on_while_its_chunk_is_still_arriving(
    guarded: Guarded, server: FaultServer, ask_http: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.open_stream()
        talk.wfile.write(b"ffff\r\n")
        monkeypatch.setattr(talk, "raw", talk.wfile.write)
        talk.say(WORDS[:4])
        talk.be_silent()

    monkeypatch.setattr(server, "play", play)
    body = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
    with requests.post(f"http://{server.address}/v1/chat/completions", json=body, stream=True) as response:
        pieces = response.raw.stream()
        assert [json.loads(next(pieces)[6:])["choices"][0]["delta"]["content"] for _ in WORDS[:4]] == WORDS[:4]
    assert server.hung_up.wait(20)


@STREAM
@pytest.mark.parametrize("size", [b"-5", b"zz", b"", b"0" * 100_000])
def test_a_chunk_of_no_size_is_a_cut(
    guarded: Guarded, server: FaultServer, ask: Ask, size: bytes, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def play(talk: Talk) -> None:
        talk.open_stream()
        talk.say(WORDS[:4])
        talk.wfile.write(size + b"\r\n")
        talk.say(WORDS[4:])
        talk.be_silent()

    monkeypatch.setattr(server, "play", play)
    assert ask(server.address, stream) == HALF + LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.CUT


def test_an_answer_that_nobody_asked_for_is_not_the_next_one(
    guarded: Guarded, server: FaultServer, ask_ollama: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library keeps the connection, and with it what else came through it."""

    def play(talk: Talk) -> None:
        sent = io.BytesIO()
        with monkeypatch.context() as patched:
            patched.setattr(talk, "wfile", sent)
            for words in (WORDS, ["OTHER."]):
                talk.open_stream()
                talk.say(words)
                talk.complete()
        talk.wfile.write(sent.getvalue())

    monkeypatch.setattr(server, "play", play)
    client = ollama.Client(host=f"http://{server.address}")
    for _ in range(3):
        reply = client.chat(model="m", messages=[{"role": "user", "content": "Hello"}])
        assert reply.message.content == REPLY
    assert len(server.asked) == 3


# --- packed answers ---------------------------------------------------------------------------------------------------


def packed(talk: Talk, status: int, encoding: str, parts: Iterator[bytes], wbits: int = zlib.MAX_WBITS | 16) -> None:
    talk.send_response(status)
    for name, value in {"Content-Encoding": encoding, "Transfer-Encoding": "chunked"}.items():
        talk.send_header(name, value)
    talk.end_headers()
    packer = zlib.compressobj(wbits=wbits)
    with contextlib.suppress(OSError):
        for part in parts:
            if data := packer.compress(part) + packer.flush(zlib.Z_SYNC_FLUSH):
                talk.raw(data)
        talk.raw(packer.flush())
        talk.end()


def lines_of_a_reply(talk: Talk) -> Iterator[bytes]:
    for word in WORDS:
        yield said(talk, word)
    if talk.ollama:
        yield json.dumps({"model": "m", "done": True, "message": {"role": "assistant", "content": ""}}).encode() + b"\n"
    else:
        yield b"data: [DONE]\n\n"


def said(talk: Talk, word: str) -> bytes:
    if talk.ollama:
        return (
            json.dumps({"model": "m", "done": False, "message": {"role": "assistant", "content": word}}).encode()
            + b"\n"
        )
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": word}}]}).encode() + b"\n\n"


@STREAM
@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("deflate", -15)])
def test_a_packed_answer_is_read_while_it_arrives(
    guarded: Guarded,
    server: FaultServer,
    ask: Ask,
    encoding: str,
    wbits: int,
    stream: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: packed(talk, 200, encoding, lines_of_a_reply(talk), wbits))
    assert ask(server.address, stream) == REPLY
    assert guarded.plugin.asked == []
    assert server.headers_seen[0]["Accept-Encoding"] == "gzip, deflate"


@STREAM
def test_what_unpacks_to_more_than_a_reply_can_hold_is_given_up(
    guarded: Guarded, server: FaultServer, ask: Ask, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts(talk: Talk) -> Iterator[bytes]:
        yield from ((b" " * (SMALL - 1) + b"\n") for _ in range(70))
        yield from lines_of_a_reply(talk)

    monkeypatch.setattr(server, "play", lambda talk: packed(talk, 200, "gzip", parts(talk)))
    assert ask(server.address, stream) == LOCAL
    failure = guarded.plugin.asked[0][1]
    assert (failure.kind, "64 MB" in failure.cause) == (FailureKind.UNREADABLE, True)


def test_a_status_counts_however_its_explanation_is_packed(
    guarded: Guarded, server: FaultServer, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "play", lambda talk: packed(talk, 503, "br", iter([b"busy"])))
    assert ask(server.address, True) == LOCAL
    assert guarded.plugin.asked[0][1].status == 503
