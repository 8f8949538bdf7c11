"""Tokens as servers count them, and prompts that they did not read to the end."""

from __future__ import annotations

from typing import Any

import pytest

from zwaif_hooks.failover.prompt_truncation import estimated_tokens, truncation_note
from zwaif_hooks.messages import ChatRequest, Message
from zwaif_hooks.network.token_counts import usage_of
from zwaif_hooks.stream import Usage


@pytest.mark.parametrize(
    ("reply", "usage"),
    [
        ({"usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}, Usage(7, 3)),
        ({"usage": {"completion_tokens": 3}}, Usage(None, 3)),
        ({"usage": {"prompt_tokens": 0, "completion_tokens": True}}, None),
        ({"usage": None, "timings": {"prompt_n": 2, "cache_n": 40, "predicted_n": 5}}, Usage(42, 5)),
        ({"timings": {"prompt_n": 2, "predicted_n": 5}}, Usage(None, 5)),
        ({"timings": {"prompt_n": "2"}}, None),
        ({"usage": []}, None),
        ([], None),
    ],
)
def test_what_a_reply_says(reply: Any, usage: Usage | None) -> None:
    assert usage_of(reply) == usage


def test_an_estimate_is_rather_low() -> None:
    assert estimated_tokens(["x" * 100, "y" * 100]) == 40
    assert estimated_tokens(["\u4f60\u597d" * 10]) == 10


def noted(text: str, read: int | None) -> str:
    request = ChatRequest("ollama", (Message("user", text),))
    return truncation_note(Usage(read, 9), len(text), lambda: request)


@pytest.mark.parametrize(("chars", "read"), [(40_000, 2048), (25_000, 2048), (100_000, 4096), (20_000, 1100)])
def test_a_prompt_that_was_cut_is_noticed(chars: int, read: int) -> None:
    assert noted("a" * chars, read).startswith(f"the server read only {read} of about {chars // 5} tokens")


@pytest.mark.parametrize(
    ("chars", "read"),
    [(8_000, 2048), (12_000, 2048), (400, 90), (40_000, 10_000), (40_000, 300), (40_000, None)],
    ids=["fits", "dense text", "short", "all read", "counts only what is new", "not told"],
)
def test_a_prompt_that_was_read_is_not_accused(chars: int, read: int | None) -> None:
    assert noted("a" * chars, read) == ""


def test_the_request_is_read_only_where_its_length_is_suspicious() -> None:
    def never() -> ChatRequest:
        raise AssertionError("read for nothing")

    assert truncation_note(Usage(2048, 9), 8_000, never) == truncation_note(None, 90_000, never) == ""
