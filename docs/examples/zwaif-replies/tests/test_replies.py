"""The list has the newest replies, and asks for itself every two seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import zwaif_replies

from zwaif_hooks import TurnRecord
from zwaif_hooks.testing import FakeHost


def test_the_newest_reply_comes_first() -> None:
    host = FakeHost({"REPLIES_SHOWN": "2"})
    host.load(zwaif_replies)
    assert zwaif_replies.rows(host) == [["", "", "", ""]]
    for number, name in enumerate(("primary", "TinyLlama", "")):
        cause = "refused" if number else ""
        host.records.add(TurnRecord(0.0, "127.0.0.1:5000", "oobabooga", name, cause=cause, seconds=number))
    newest = [row[1:] for row in zwaif_replies.rows(host)]
    assert newest == [
        ["nobody", "2.0", "refused"],
        ["TinyLlama", "1.0", "refused"],
    ]


def test_the_table_is_live() -> None:
    gradio = pytest.importorskip("gradio")
    asked: list[tuple[float, Callable[[], Any], Any]] = []
    host = FakeHost()
    host.load(zwaif_replies)
    with gradio.Blocks():
        zwaif_replies.register_settings_ui(gradio, host, lambda *live: asked.append(live))
    ((seconds, function, table),) = asked
    assert (seconds, function(), table.label) == (2, [["", "", "", ""]], "Last Replies")
