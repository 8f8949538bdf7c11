"""What an OpenAI-style server tells when it is asked why."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
import requests
from urllib3 import HTTPResponse

from zwaif_hooks.guards.empty_reply import MODEL_INFO, reason_of
from zwaif_hooks.messages import FailureKind, PrimaryFailure

URL = "http://127.0.0.1:5000/v1/chat/completions?x=1"
BODY = {"messages": [], "stream": True, "preset": "mine"}


def response(status: int, body: Any) -> requests.Response:
    made = requests.Response()
    made.status_code = status
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    made.encoding = "utf-8"
    made.raw = HTTPResponse(io.BytesIO(sent), preload_content=False)
    return made


def reason(info: requests.Response | Exception, reply: requests.Response | Exception) -> PrimaryFailure | None:
    """With these two answers, to the question for the model and to the request in one piece."""

    def send(method: str, url: str, **options: Any) -> requests.Response:
        assert url == (f"http://127.0.0.1:5000{MODEL_INFO}" if method == "GET" else URL)
        assert method == "GET" or options["json"] == {**BODY, "stream": False}
        answer = info if method == "GET" else reply
        if isinstance(answer, Exception):
            raise answer
        return answer

    return reason_of(send, URL, BODY, "127.0.0.1:5000")


@pytest.mark.parametrize("name", ["None", None, ""])
def test_a_server_without_a_model(name: str | None) -> None:
    found = reason(response(200, {"model_name": name, "lora_names": []}), AssertionError("not asked"))
    assert found is not None and found.kind is FailureKind.NO_MODEL


@pytest.mark.parametrize(
    "info",
    [response(404, {}), response(200, {"data": []}), response(200, b"<html>"), response(200, {"model_name": "x"})],
)
def test_a_server_that_does_not_say_so_is_asked_on(info: requests.Response) -> None:
    found = reason(info, response(422, {"detail": [{"loc": ["preset"], "msg": "unknown"}]}))
    assert found is not None
    assert (found.kind, found.status) == (FailureKind.MISCONFIGURED, 422)
    assert "unknown" in found.cause


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, FailureKind.MISCONFIGURED), (401, FailureKind.MISCONFIGURED), (500, FailureKind.HTTP_ERROR)],
)
def test_what_it_refuses_is_for_the_user_and_what_it_fails_at_is_not(status: int, kind: FailureKind) -> None:
    found = reason(response(404, {}), response(status, {"error": "so"}))
    assert found is not None and (found.kind, found.cause) == (kind, "127.0.0.1:5000 refuses the request: so")


@pytest.mark.parametrize(
    ("info", "reply"),
    [
        (response(404, {}), response(200, {"choices": []})),
        (response(404, {}), requests.ReadTimeout("busy with a reply")),
        (requests.ConnectionError("gone"), AssertionError("not asked")),
    ],
    ids=["it answers", "it takes long", "it is gone"],
)
def test_nothing_is_concluded_from_anything_else(info: Any, reply: Any) -> None:
    assert reason(info, reply) is None
