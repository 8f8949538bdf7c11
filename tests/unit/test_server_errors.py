"""What an HTTP answer says: how long to wait, and whether a model is loaded."""

from __future__ import annotations

from typing import Any

import pytest

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network.server_errors import (
    DEFAULT_RETRY_AFTER,
    LONGEST_PAUSE,
    decoded,
    kind_of_error,
    kind_of_status,
    message_in,
    pause_asked_for,
)

NOON = 1_767_265_200.0
"""2026-01-01 11:00:00 UTC"""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "30"}, 30.0),
        ({"Retry-After": " 2.5 "}, 2.5),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "Thu, 01 Jan 2026 11:00:42 GMT"}, 42.0),
        ({"Retry-After": "Thu, 01 Jan 2026 10:59:00 GMT"}, 0.0),
        ({"Retry-After": "Thursday, 01-Jan-26 11:00:42 GMT"}, 42.0),
        ({"Retry-After": "Thu, 01 Jan 2026 11:00:42 GMT", "Date": "Thu, 01 Jan 2026 11:00:40 GMT"}, 2.0),
        ({"Retry-After": "Thu, 01 Jan 2026 11:00:42 GMT", "Date": "yesterday"}, 42.0),
        ({"Retry-After": "Fri, 01 Jan 2027 11:00:42 GMT"}, LONGEST_PAUSE),
        ({"Retry-After": "inf"}, LONGEST_PAUSE),
        ({"Retry-After": "nan"}, DEFAULT_RETRY_AFTER),
        ({"Retry-After": "soon"}, DEFAULT_RETRY_AFTER),
        ({}, DEFAULT_RETRY_AFTER),
    ],
)
def test_how_long_to_leave_the_server_alone(headers: dict[str, str], seconds: float) -> None:
    assert pause_asked_for(headers, lambda: NOON) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "said",
    ["No model is loaded! Select one in the Model tab.", "No models loaded.", '{"detail":"no model loaded"}'],
)
def test_a_server_without_a_model(said: str) -> None:
    assert kind_of_status(503, said) is kind_of_error(said) is FailureKind.NO_MODEL


@pytest.mark.parametrize(
    ("status", "said", "kind"),
    [
        (404, "model 'x' not found", FailureKind.MISCONFIGURED),
        (401, "bad key", FailureKind.MISCONFIGURED),
        (400, "Invalid host header", FailureKind.MISCONFIGURED),
        (400, "context too long", FailureKind.HTTP_ERROR),
        (503, "Loading model", FailureKind.HTTP_ERROR),
        (429, "No model is loaded", FailureKind.RATE_LIMITED),
    ],
)
def test_the_other_answers(status: int, said: str, kind: FailureKind) -> None:
    assert kind_of_status(status, said) is kind


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "no such preset", "code": 1}}', "no such preset"),
        ('{"error": "no\\n such   preset"}', "no such preset"),
        ('{"detail": "no such preset"}', "no such preset"),
        (b'{"message": "no such preset"}', "no such preset"),
        (b"no such preset", "no such preset"),
        ('{"error": {"code": 1}}', ""),
        (b"x" * 1000, "x" * 300),
        ({"message": "no such preset"}, "no such preset"),
        ({"code": 1}, ""),
        (None, ""),
        ("503", "503"),
        ("<html><body>502 Bad Gateway</body></html>", ""),
    ],
)
def test_the_servers_own_words(body: Any, words: str) -> None:
    assert message_in(body) == words


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("Modèle déchargé".encode(), "text/plain; charset=utf-8", "Modèle déchargé"),
        ("Modèle déchargé".encode("latin-1"), "text/plain; charset=iso-8859-1", "Modèle déchargé"),
        ("Модель не загружена".encode("cp1251"), 'text/plain; charset="windows-1251"', "Модель не загружена"),
        ("モデルがありません".encode("shift_jis"), "text/html;charset=Shift_JIS", "モデルがありません"),
        ("“voll”".encode("cp1252"), "", "“voll”"),
        ("voll é".encode()[:-1], "", "voll "),
        (b"\x81\xff", "text/plain; charset=no-such-thing", "\x81ÿ"),
        (b"\x81\xff", "text/plain; charset=hex", "\x81ÿ"),
    ],
)
def test_an_explanation_is_read_in_its_own_letters(body: bytes, content_type: str, text: str) -> None:
    assert decoded(body, content_type) == text
