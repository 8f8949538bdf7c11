"""The remote engine against a real server on loopback that misbehaves on request."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback.answering.second_server import Deadlines, SecondServerClient, base_url
from zwaif_fallback.errors import EngineError
from zwaif_hooks.messages import Message, Sampling

HELLO = (Message("system", "You are Waif."), Message("user", "Hi"))
FAST = Deadlines(connect=2.0, first_token=0.5, stall=0.5)


class Server:
    """``answer`` gets the handler and the request's body."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.release = threading.Event()
        self.list: bytes | None = None
        """Sent in place of the list of ``models``."""
        self.models: list[str] = ["text-embedding-1", "chatty"]
        self.answer: Callable[[BaseHTTPRequestHandler, dict[str, Any]], None] = lambda handler, body: stream(
            handler, *deltas("Hello", " there")
        )
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                listed = {"data": [{"id": name} for name in outer.models]}
                send_json(self, listed if outer.list is None else outer.list)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.bodies.append(body)
                outer.headers.append(dict(self.headers))
                outer.answer(self, body)

            def log_message(self, format: str, *args: Any) -> None:
                """Keep the test's output clean."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.host = f"127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.release.set()
        self.http.shutdown()
        self.http.server_close()


def send_json(handler: BaseHTTPRequestHandler, value: Any, status: int = 200) -> None:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def stream(handler: BaseHTTPRequestHandler, *lines: str) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/event-stream")
    handler.end_headers()
    for line in lines:
        handler.wfile.write(line.encode() + b"\n\n")
        handler.wfile.flush()


def delta(**fields: Any) -> str:
    return "data: " + json.dumps({"choices": [{"delta": fields, "finish_reason": None}]})


def deltas(*texts: str) -> list[str]:
    return [delta(content=text) for text in texts] + ["data: [DONE]"]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def ask(server: Server, **more: Any) -> str:
    chat = SecondServerClient(server.host, deadlines=FAST)
    return "".join(chat.stream(HELLO, **more))


def test_streams_and_picks_the_first_chat_model(server: Server) -> None:
    assert ask(server, sampling=Sampling(temperature=0.5, seed=-1), stop=["A", "B", "C", "D", "E"]) == "Hello there"
    body = server.bodies[0]
    assert (body["model"], body["temperature"], body["stream"]) == ("chatty", 0.5, True)
    assert body["messages"][1] == {"role": "user", "content": "Hi"}
    assert "stop" not in body, "some servers refuse them, some die of them; they are applied here"
    assert "seed" not in body
    assert server.headers[0]["X-ZWaif-Fallback"] == "1"
    assert "Authorization" not in server.headers[0]


def test_only_text_comes_through(server: Server) -> None:
    server.answer = lambda handler, body: stream(
        handler,
        ": keep-alive",
        delta(role="assistant"),
        delta(role="assistant", content=""),
        delta(content=None),
        delta(content="Hé😀"),
        "event: ping",
        'data: {"choices": []}',
        delta(),
        'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}',
        'data: {"choices": [], "usage": {"total_tokens": 3}}',
    )
    assert ask(server) == "Hé😀"


def test_an_answer_that_is_not_streamed_is_taken(server: Server) -> None:
    server.answer = lambda handler, body: send_json(handler, {"choices": [{"message": {"content": "All at once"}}]})
    assert ask(server) == "All at once"


def test_stop_strings_never_leak_though_the_server_ignores_them(server: Server) -> None:
    server.answer = lambda handler, body: stream(handler, *deltas("Hello\nUs", "er: I am"))
    assert ask(server, stop=["\nUser:"]) == "Hello"


def test_key_is_sent_and_never_shown(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    chat = SecondServerClient(server.host, deadlines=FAST, api_key="very-secret", trusted=True)
    server.answer = lambda handler, body: send_json(handler, {"error": {"message": "bad key"}}, 401)
    with pytest.raises(EngineError, match="HTTP 401: check API_FALLBACK_API_KEY") as caught:
        list(chat.stream(HELLO))
    assert server.headers[0]["Authorization"] == "Bearer very-secret"
    assert "very-secret" not in caplog.text + str(caught.value) + repr(caught.value.__cause__) + repr(chat)


def strict(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    """As api.openai.com."""
    unknown = [name for name in ("top_k", "min_p", "repetition_penalty", "chat_template_kwargs") if name in body]
    if unknown:
        send_json(handler, {"error": {"message": f"Unrecognized request argument: {unknown[0]}"}}, 400)
    else:
        stream(handler, *deltas("ok"))


def test_extra_sampling_is_left_out_where_it_is_refused_and_the_next_time_at_once(server: Server) -> None:
    server.answer = strict
    for asked in (2, 3, 4):
        assert ask(server, sampling=Sampling(top_k=5, top_p=0.5)) == "ok"
        assert len(server.bodies) == asked
        assert server.bodies[-1]["top_p"] == 0.5
    assert ask(server, sampling=Sampling(top_k=5), partial="I said") == "ok" and len(server.bodies) == 5
    list(SecondServerClient(server.host, "another").stream(HELLO))
    assert len(server.bodies) == 7, "each model is known for itself"


def test_a_request_that_is_refused_anyway_says_nothing_about_extra_sampling(server: Server) -> None:
    server.answer = lambda handler, body: send_json(handler, {"error": {"message": "too long"}}, 400)
    with pytest.raises(EngineError):
        ask(server)
    server.answer = lambda handler, body: stream(handler, *deltas("ok"))
    assert ask(server, sampling=Sampling(top_k=5)) == "ok"
    assert (len(server.bodies), server.bodies[-1]["top_k"]) == (3, 5)


def test_a_server_that_breaks_off_at_a_begun_reply_is_told_of_it_instead(server: Server) -> None:
    def knows_no_beginnings(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        plain = body["messages"][-1]["role"] == "user"
        stream(handler, *(deltas("fine", " today.") if plain else []))

    server.answer = knows_no_beginnings
    assert "".join(SecondServerClient(server.host).stream(HELLO, partial="I am")) == "fine today."
    assert len(server.bodies) == 2
    assert "already said: I am" in server.bodies[1]["messages"][-1]["content"]
    assert server.bodies[1]["messages"][-1]["content"].startswith("Hi")
    server.answer = lambda handler, body: stream(handler)
    with pytest.raises(EngineError, match="ended before the reply was finished"):
        list(SecondServerClient(server.host).stream(HELLO))
    assert len(server.bodies) == 3, "a plain request that fails is not asked again"


def test_the_beginning_of_the_reply_is_given_as_the_assistants_turn(server: Server) -> None:
    """What the server says again of it is the business of whoever joins the two."""
    server.answer = lambda handler, body: stream(handler, *deltas("I am", " fine."))
    assert ask(server, partial="I am") == "I am fine."
    assert server.bodies[0]["messages"][-1] == {"role": "assistant", "content": "I am"}


FAILURES: dict[str, tuple[Callable[..., Any], str]] = {
    "500": (
        lambda h, b: send_json(h, {"error": {"message": "no\nmemory"}}, 500),
        "with an error \\(no memory\\)",
    ),
    "404": (lambda h, b: send_json(h, {}, 404), "HTTP 404: check API_FALLBACK_HOST"),
    "redirect": (lambda h, b: send_json(h, {}, 302), "HTTP 302"),
    "error body": (lambda h, b: send_json(h, {"error": "model not loaded"}), "model not loaded"),
    "error event": (lambda h, b: stream(h, 'data: {"error": {"message": "boom"}}'), "boom"),
    "html": (lambda h, b: stream(h, "<html>", "</html>"), "not a chat reply"),
    "bad json": (lambda h, b: stream(h, "data: {"), "no readable event"),
    "not an object": (lambda h, b: stream(h, "data: [1]"), "ended before the reply was finished"),
    "cut": (lambda h, b: stream(h, delta(content="Hel")), "ended before the reply was finished"),
    "empty": (lambda h, b: stream(h, "data: [DONE]"), "the reply was empty"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_failures_are_one_line(server: Server, name: str) -> None:
    answer, message = FAILURES[name]
    server.answer = answer
    with pytest.raises(EngineError, match=message) as caught:
        ask(server)
    assert "\n" not in str(caught.value)
    assert server.host in str(caught.value)


def test_no_first_text_in_time_though_bytes_arrive(server: Server) -> None:
    def keep_alive(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        stream(handler, ": keep-alive", delta(role="assistant"), delta(content=""))
        server.release.wait(30)

    server.answer = keep_alive
    with pytest.raises(EngineError, match=r"no text within 2\.5 s"):  # to connect, and from then on
        ask(server)


def test_stall_keeps_what_was_said(server: Server) -> None:
    def stall(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        stream(handler, delta(content="Hel"))
        server.release.wait(30)

    server.answer = stall
    pieces = SecondServerClient(server.host, deadlines=FAST).stream(HELLO)
    assert next(pieces) == "Hel"
    with pytest.raises(EngineError, match=r"the reply stopped for 0\.5 s"):
        next(pieces)


def test_refused_connection(server: Server) -> None:
    server.close()
    with pytest.raises(EngineError, match="it is down"):
        ask(server)


def test_server_without_a_chat_model(server: Server) -> None:
    server.models = ["text-embedding-1"]
    with pytest.raises(EngineError, match="no chat model"):
        ask(server)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("127.0.0.1:5001", "http://127.0.0.1:5001/v1"),
        ("http://localhost:1234/", "http://localhost:1234/v1"),
        ("https://api.example.org/v1", "https://api.example.org/v1"),
        ("https://api.example.org/openai/v1/chat/completions", "https://api.example.org/openai/v1"),
        ("0.0.0.0:11434", "http://127.0.0.1:11434/v1"),
        ("[::1]:8080", "http://[::1]:8080/v1"),
    ],
)
def test_addresses(written: str, meant: str) -> None:
    assert base_url(written) == meant


@pytest.mark.parametrize("written", ["", "ftp://x", "http://", "host:port", "two words"])
def test_no_address(written: str) -> None:
    with pytest.raises(EngineError, match="is not an address"):
        base_url(written)


def test_a_certificate_nobody_vouches_for_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    new = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names]
    subprocess.run([*new, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    chat = SecondServerClient(f"https://{server.host}", "m", api_key="sk-secret", trusted=True)
    with pytest.raises(EngineError, match="its certificate cannot be trusted"):
        list(chat.stream(HELLO))
    assert server.headers == [], "nothing was sent, least of all the key"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    assert "".join(chat.stream(HELLO)) == "Hello there"
    assert server.headers[0]["Authorization"] == "Bearer sk-secret"


def repeated(handler: BaseHTTPRequestHandler, data: bytes, content_type: str = "text/event-stream") -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", content_type)
    handler.end_headers()
    for _ in range(2**40 // len(data)):
        handler.wfile.write(data)


@cache
def packed() -> bytes:
    """200 MB of spaces in 200 KB, which takes a second to make."""
    packer = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    return packer.compress(b"[") + b"".join(packer.compress(b" " * 2**20) for _ in range(200)) + packer.flush()


def bomb(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Encoding", "gzip")
    handler.end_headers()
    handler.wfile.write(packed())


ENDLESS: dict[str, tuple[Callable[..., Any], str]] = {
    "pings": (lambda h, b: repeated(h, b": ping\n\n"), "no text within 1 s"),
    "empty deltas": (lambda h, b: repeated(h, delta().encode() + b"\n\n"), "no text within 1 s"),
    "one line": (lambda h, b: repeated(h, b"x" * 65536), "MB"),
    "one body": (lambda h, b: repeated(h, b" " * 65536, "application/json"), "MB|broke off"),
    "gzip": (bomb, "MB"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_an_answer_without_end_is_given_up_and_hung_up_on(server: Server, name: str) -> None:
    answer, message = ENDLESS[name]
    packed()
    gone = threading.Event()

    def watched(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        try:
            answer(handler, body)
            handler.rfile.read(1)  # returns when the connection is closed
        except OSError:
            pass  # closed while we were sending
        gone.set()

    server.answer = watched
    # Only what says nothing needs a deadline; a busy machine may need long for a few megabytes.
    wait = 0.5 if "no text within" in message else 300.0
    chat = SecondServerClient(server.host, "m", deadlines=Deadlines(connect=wait, first_token=wait, stall=wait))
    with pytest.raises(EngineError, match=message):
        list(chat.stream(HELLO, max_tokens=20))
    assert gone.wait(20.0), "the server would go on for nobody"


def test_a_reply_without_end_is_ended_behind_a_sentence(server: Server) -> None:
    gone = threading.Event()

    def talk(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        try:
            repeated(handler, delta(content="And so on. ").encode() + b"\n\n")
        except OSError:
            gone.set()

    server.answer = talk
    said = "".join(SecondServerClient(server.host, "m", deadlines=FAST).stream(HELLO, max_tokens=20))
    assert len(said) < 2_100 and said.endswith(". ")
    assert gone.wait(5.0)


def test_a_server_that_never_speaks_is_hung_up_on(server: Server) -> None:
    gone = threading.Event()

    def silent(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        handler.rfile.read(1)
        gone.set()

    server.answer = silent
    with pytest.raises(EngineError, match="no text within 1 s"):
        list(SecondServerClient(server.host, "m", deadlines=Deadlines(connect=0.5, first_token=0.5)).stream(HELLO))
    assert gone.wait(1.0)


def test_an_endless_list_of_models_is_given_up(server: Server) -> None:
    server.models = ["m" * 100_000] * 20
    with pytest.raises(EngineError, match="longer than"):
        SecondServerClient(server.host, deadlines=FAST).models()


@pytest.mark.parametrize("written", ["[" * 100_000, "{}", "[1]", '{"data": [1]}'])
def test_an_unreadable_list_of_models_is_one_line(server: Server, written: str) -> None:
    server.list = written.encode()
    with pytest.raises(EngineError, match="list of models is not readable"):
        SecondServerClient(server.host, deadlines=FAST).models()


@pytest.mark.parametrize(
    "lines",
    [
        ["\ufeff" + delta(content="Hello"), delta(content=" there"), "data: [DONE]"],
        [
            *(["data: " + json.dumps({"choices": [{"index": 1, "delta": {"content": "x"}}, None]})] * 2),
            *deltas("Hello there"),
        ],
        [delta(content="Hello"), 'data: {"choices": [null]}', *deltas(" there")],
        [delta(content="Hello"), 'data: {"usage": {"pro', *deltas(" there")],
        [delta(reasoning_content="hm"), *deltas("Hello there")],
    ],
)
def test_the_protections_of_the_primary_count_here_too(server: Server, lines: list[str]) -> None:
    server.answer = lambda handler, body: stream(handler, *lines)
    assert ask(server) == "Hello there"


def test_halves_of_an_emoji_become_one(server: Server) -> None:
    server.answer = lambda handler, body: stream(
        handler, delta(content="Hi \ud83d"), delta(content="\ude00"), "data: [DONE]"
    )
    assert ask(server) == "Hi 😀"


@pytest.mark.parametrize("reason", ["error", "abort"])
def test_a_reply_that_the_server_broke_off_is_no_whole_one(server: Server, reason: str) -> None:
    last = "data: " + json.dumps({"choices": [{"delta": {}, "finish_reason": reason}]})
    server.answer = lambda handler, body: stream(handler, delta(content="Hello"), last, "data: [DONE]")
    with pytest.raises(EngineError, match="broke the reply off"):
        ask(server)


@pytest.mark.parametrize("begun", ["", "Hel"])
def test_a_reader_that_leaves_while_the_server_reads_the_prompt_hangs_up(server: Server, begun: str) -> None:
    asked, gone = threading.Event(), threading.Event()

    def silent(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        asked.set()
        handler.rfile.read(1)
        gone.set()

    server.answer = silent
    pieces = SecondServerClient(server.host, "m", deadlines=Deadlines(first_token=600.0)).stream(HELLO, partial=begun)
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(pieces), daemon=True)
    reader.start()
    assert asked.wait(20)
    pieces.close()
    assert gone.wait(20)
    reader.join(20)
    assert not reader.is_alive() and said == []
