"""Against a server on this machine that speaks as much of Anthropic's API as the plugin needs."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import zwaif_claude

from zwaif_hooks.testing import FakeHost, ask, cut, request


class Api(ThreadingHTTPServer):
    status = 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Call)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []


class Call(BaseHTTPRequestHandler):
    server: Api

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_POST(self) -> None:
        self.server.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.server.keys.append(self.headers["x-api-key"])
        self.send_response(self.server.status)
        self.end_headers()
        for event in (
            {"type": "message_start", "message": {}},
            *({"type": "content_block_delta", "delta": {"type": "text_delta", "text": t}} for t in ("I am ", "here.")),
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        ):
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())


@pytest.fixture
def api() -> Iterator[Api]:
    server = Api()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def host_with_key(api: Api) -> FakeHost:
    return FakeHost({"CLAUDE_API_KEY": "key-123456", "CLAUDE_URL": f"http://127.0.0.1:{api.server_port}"})


def test_it_answers_with_the_character_card(api: Api) -> None:
    reply = ask(zwaif_claude, request("Hi", persona_in_messages=False), host=host_with_key(api))
    assert (reply.text, reply.errors, api.keys) == ("I am here.", [], ["key-123456"])
    assert api.asked[0]["messages"] == [{"role": "user", "content": "Hi"}]


def test_without_a_key_nothing_is_sent(api: Api) -> None:
    host = FakeHost({"CLAUDE_URL": f"http://127.0.0.1:{api.server_port}"})
    assert ask(zwaif_claude, "Hi", host=host).text == ""
    assert host.call("will_answer", request=None, failure=None) == [False]
    assert api.asked == []


def test_it_does_not_finish_what_the_server_began(api: Api) -> None:
    assert ask(zwaif_claude, "Hi", cut("I was"), host_with_key(api)).text == ""


def test_a_refused_key_is_one_line(api: Api) -> None:
    api.status = 401
    reply = ask(zwaif_claude, "Hi", host=host_with_key(api))
    assert reply.errors == [
        "Plugin 'claude': its on_primary_failure is skipped for 300 s: "
        "Claude refuses to answer (HTTP 401): look at your account"
    ]
