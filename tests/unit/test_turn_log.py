"""Turn records: kept, written without holding anybody up, read back."""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from dataclasses import replace
from pathlib import Path

import pytest

from zwaif_hooks import turn_log
from zwaif_hooks.turn_log import BY_PRIMARY, TurnLog, TurnRecord, read, summary


def record(at: float = 1000.0, by: str = BY_PRIMARY) -> TurnRecord:
    return TurnRecord(at=at, primary="127.0.0.1:5000", backend="oobabooga", answered_by=by, chars=12)


def test_records_come_back_from_the_file(tmp_path: Path) -> None:
    log = TurnLog(tmp_path / "deep" / "turns.jsonl")
    log.add(record())
    log.add(record(by="tiny — 小"))
    log.flush()
    assert read(tmp_path / "deep" / "turns.jsonl") == log.recent() == [record(), record(by="tiny — 小")]


def test_turns_that_end_at_the_same_moment_are_all_written(tmp_path: Path) -> None:
    """Each sees the other's record beside its own, so neither is the first that has to have them written."""
    both = threading.Barrier(2)

    class Together(deque[TurnRecord]):
        def append(self, item: TurnRecord) -> None:
            super().append(item)
            both.wait(20)

    log = TurnLog(tmp_path / "turns.jsonl")
    log._unwritten = Together()
    threads = [threading.Thread(target=log.add, args=[record(at)]) for at in (1.0, 2.0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    tick = threading.Event()
    while len(read(tmp_path / "turns.jsonl")) < 2:
        tick.wait(0.01)


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "turns.jsonl"
    log = TurnLog(path)
    log.add(record())
    log.flush()
    with path.open("a", encoding="utf-8") as file:
        file.write('{"at": 1, "unknown": 2}\n{"at": 3, "pri')
    assert read(path) == [record()]


def test_records_of_another_version_are_read_as_far_as_they_are_known(tmp_path: Path) -> None:
    path = tmp_path / "turns.jsonl"
    path.write_text(
        '{"at": 1000.0, "primary": "127.0.0.1:5000", "backend": "oobabooga", "answered_by": "primary", "chars": 12, '
        '"pieces": 3}\n[1]\n',
        encoding="utf-8",
    )
    assert read(path) == [record()]


def test_a_large_file_is_begun_anew_and_the_old_one_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_log, "LARGEST_FILE", 10)
    path = tmp_path / "turns.jsonl"
    for at in (1.0, 2.0):
        log = TurnLog(path)
        log.add(record(at))
        log.flush()
    assert [r.at for r in read(path)] == [2.0]
    assert [r.at for r in read(tmp_path / "turns.old.jsonl")] == [1.0]


def test_a_place_that_cannot_be_written_costs_only_the_file(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    log = TurnLog(blocked / "turns.jsonl")
    log.add(record())
    log.flush()
    assert log.recent() == [record()]
    assert read(blocked / "turns.jsonl") == []


def test_the_summary_counts_the_last_hour() -> None:
    turns = [record(at=0.0), record(at=5000.0), record(at=5001.0, by="tiny")]
    assert summary(turns, now=5100.0) == "2 replies in the last hour, 1 of them by the fallback; last by tiny."
    assert summary(turns[-1:], now=5100.0).startswith("1 reply in the last hour, ")
    assert summary([], now=0.0) == "No replies in the last hour."


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_only_their_owner_may_read_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_log, "LARGEST_FILE", 10)
    log = TurnLog(tmp_path / "turns.jsonl")
    for at in (1.0, 2.0):
        log.add(record(at))
        log.flush()
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "turns.jsonl": 0o600,
        "turns.old.jsonl": 0o600,
    }


@pytest.mark.parametrize(
    ("cause", "detail", "kept"),
    [
        ("error body", "the reply was only an apology: Sorry, my dear", "the reply was only an apology"),
        ("unreadable", "the stream broke off: it begins with 'I love you'", "the stream broke off"),
        ("http error", "127.0.0.1:5000 answered 500: you said: hello", "127.0.0.1:5000 answered 500"),
        ("refused", "connection refused by 127.0.0.1:5000", "connection refused by 127.0.0.1:5000"),
        ("stalled", "the reply stopped for 5 s in the middle", "the reply stopped for 5 s in the middle"),
    ],
)
def test_no_word_of_a_conversation_is_in_the_file(cause: str, detail: str, kept: str, tmp_path: Path) -> None:
    log = TurnLog(tmp_path / "turns.jsonl")
    log.add(replace(record(), cause=cause, detail=detail))
    log.flush()
    assert log.recent()[0].detail == detail, "the page of this very Z-Waif may say it"
    assert read(tmp_path / "turns.jsonl")[0].detail == kept


@pytest.mark.parametrize("line", ["[" * 100_000, '{"at": "now"}', '{"at": null}', '{"at": [1]}', "9" * 10_000, '"x"'])
def test_a_line_that_is_no_record_harms_nothing(line: str, tmp_path: Path) -> None:
    log = TurnLog(tmp_path / "turns.jsonl")
    (tmp_path / "turns.jsonl").write_text(line + "\n", encoding="ascii")
    log.add(record())
    log.flush()
    assert read(tmp_path / "turns.jsonl") == [record()]
    summary(read(tmp_path / "turns.jsonl"))
