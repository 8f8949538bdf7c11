"""The chaos soak itself is kept alive: few turns, a script and a server of a few lines, but real kills."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.soak.talk import Said, Takeovers, Verdict, repeated
from zwaif_hooks.messages import AnswerRecord, ChatRequest, FailureKind, Message, PrimaryFailure

ROOT = Path(__file__).resolve().parents[2]
ASKED = [{"role": "user", "content": "Hello"}]


@pytest.mark.skipif(os.name != "posix", reason="its server is frozen and killed with signals")
def test_twenty_turns_under_fire() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", "--turns", "20", "--scripted", "--stub"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "hooks")])},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "20 turns in" in done.stdout
    assert "0 lost, 0 doubled, 0 mixed, 0 exceptions" in done.stdout
    kills = re.search(r"server: (\d+) kills", done.stdout)
    assert kills and int(kills[1]) >= 2


def taken_over(text: str, delivered: str, added: str, asked: str = "Hello", error: str = "") -> Verdict:
    takeovers = Takeovers()
    request = ChatRequest("oobabooga", (Message("user", asked),), model="Discord-1")
    failure = PrimaryFailure(FailureKind.CUT, "cut", delivered)
    takeovers.fallback_answered(record=AnswerRecord(request, failure, "p", "p", added, 0.0, 0.0))
    verdict = Verdict(takeovers)
    verdict.judge(Said("Discord-1", ASKED, True, text, error))
    return verdict


def test_a_sound_takeover_is_no_fault() -> None:
    verdict = taken_over("Once upon a time there was", "Once upon a ", "time there was")
    verdict.compare(verdict.turns[0], "Once upon a time there lived a fox")
    assert verdict.faults == []


@pytest.mark.parametrize(
    ("what", "verdict"),
    [
        ("lost", lambda: taken_over("  ", "", "  ")),
        ("exceptions", lambda: taken_over("", "", "", error="OSError()")),
        ("doubled", lambda: taken_over("Once upon a Once upon a time", "Once upon a ", "Once upon a time")),
        ("doubled", lambda: taken_over("Once upon", "Once upon a ", "time")),
        ("mixed", lambda: taken_over("Once upon", "Once", " upon", asked="Goodbye")),
    ],
)
def test_each_fault_is_seen(what: str, verdict: Callable[[], Verdict]) -> None:
    seen = verdict()
    assert [fault.partition(":")[0] for fault in seen.faults] == [what]
    assert getattr(seen, what) == 1


def test_another_reply_than_the_servers_is_mixed() -> None:
    verdict = taken_over("Once upon a time", "Once upon a ", "time")
    verdict.compare(verdict.turns[0], "Good evening")
    assert verdict.mixed == 1


def test_short_coincidences_are_plain_english() -> None:
    assert not repeated("and so it was", " was it not")
    assert repeated("I went to the market", "to the market and bought")
