"""The last turns, as ``zwaif-fallback status`` and the Settings tab show them."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback.cli import status, status_facts
from zwaif_hooks import turn_log
from zwaif_hooks.turn_log import TurnLog, TurnRecord

TURN = TurnRecord(
    at=time.time(),
    primary="127.0.0.1:5000",
    backend="ollama",
    answered_by="tiny",
    cause="cut",
    detail="the connection broke",
    seconds=1.25,
    primary_tokens=5,
    primary_tokens_estimated=True,
    fallback_tokens=24,
)


def test_status_tells_the_last_turns_of_this_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zwaif_hooks.log.log_path", lambda: tmp_path / "log" / "x.log")
    log = TurnLog(turn_log.path_for(tmp_path))
    log.add(TURN)
    log.flush()
    facts = status_facts.status_facts(tmp_path, {})
    assert facts["turns"][0]["answered_by"] == "tiny"
    text = "\n".join(status.status_lines(facts))
    assert "1 reply in the last hour, 1 of them by the fallback; last by tiny." in text
    assert "tiny, 1.2 s, about 5 + 24 tokens (the connection broke)" in text
    assert facts["turns"][0]["fallback_tokens"] == 24


@pytest.mark.parametrize(
    ("by", "reachable", "told"),
    [
        ("primary", True, "Who answers      Ollama"),
        (
            "lmstudio:x/y/SmolLM2-135M-Instruct.Q4_1.gguf",
            False,
            "Who answers      Answered by SmolLM2 135M Instruct on this computer while Ollama is down.",
        ),
        ("10.0.0.7:5000", False, "Who answers      Answered by the second server 10.0.0.7:5000 while Ollama is down."),
        ("tiny", True, "Who answers      tiny on this computer, the last time; Ollama accepts connections now"),
    ],
)
def test_status_says_who_speaks_as_the_chat_page_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str, reachable: bool, told: str
) -> None:
    monkeypatch.setattr("zwaif_hooks.log.log_path", lambda: tmp_path / "log" / "x.log")
    monkeypatch.setattr(
        status_facts, "_primary", lambda *_: {"kind": "Ollama", "address": "x:1", "reachable": reachable}
    )
    log = TurnLog(turn_log.path_for(tmp_path))
    log.add(replace(TURN, answered_by=by))
    log.flush()
    facts = status_facts.status_facts(tmp_path, {"API_TYPE": "Ollama", "API_FALLBACK_HOST": "10.0.0.7:5000"})
    assert told in status.status_lines(facts)


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ({"primary_tokens": 7}, "7 tokens"),
        ({"primary_tokens": 7, "primary_tokens_estimated": True}, "about 7 tokens"),
        ({"fallback_tokens": 9, "fallback_tokens_estimated": True}, "about 9 tokens"),
        ({}, "0 tokens"),
    ],
)
def test_tokens_are_told_as_counted_or_as_estimated(told: dict[str, Any], text: str) -> None:
    assert status._tokens(asdict(TurnRecord(0.0, "p", "b", "x", **told))) == text


def test_another_tree_has_turns_of_its_own(tmp_path: Path) -> None:
    assert turn_log.path_for(tmp_path / "a") != turn_log.path_for(tmp_path / "b")
