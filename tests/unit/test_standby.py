"""When the standby worker is started and ended: with an injected clock, and once with real processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import psutil
import pytest

from tests.helpers import HELPERS
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.errors import ModelError
from zwaif_fallback.local import standby_policy
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.local.standby_policy import AGAIN_SECONDS, LONGEST_START, LOOK_SECONDS, MOST_BYTES, StandbyPolicy
from zwaif_fallback.prompt import formats

GGUF, OTHER = LoadOptions("a.gguf"), LoadOptions("folder")
SCRIPT = HELPERS / "scripted_worker.py"


class Machine:
    """A computer whose time is moved by who waits."""

    def __init__(self) -> None:
        self.time = 0.0
        self.work = 0.0
        self.load = 0.0
        """Of a processor, by Z-Waif."""
        self.room = True
        self.short = False
        self.size = 40_000_000

    def now(self) -> float:
        return self.time

    def worked(self) -> float:
        return self.work

    def has_room(self) -> bool:
        return self.room

    def is_short(self) -> bool:
        return self.short

    def taken_by(self, pid: int) -> int:
        return self.size

    def go_on(self, seconds: float) -> None:
        self.time += seconds
        self.work += seconds * self.load


class Local:
    """Notes who was to stand by."""

    def __init__(self) -> None:
        self.standing_by: int | None = None
        self.starts: list[LoadOptions] = []
        self.problem: ModelError | None = None

    def stand_by(self, options: LoadOptions) -> None:
        self.starts.append(options)
        if self.problem is not None:
            raise self.problem
        self.standing_by = len(self.starts)

    def dismiss(self) -> None:
        self.standing_by = None


class Stage:
    def __init__(self) -> None:
        self.machine, self.local = Machine(), Local()
        self.wanted: LoadOptions | None = GGUF
        self.busy = False
        self.until = 0.0
        self.each: Callable[[], None] = lambda: None
        self.stand_by = StandbyPolicy(self.local, lambda: self.wanted, lambda: self.busy, self.wait, self.machine)

    def wait(self, seconds: float) -> bool:
        self.machine.go_on(seconds)
        self.each()
        return self.machine.time >= self.until

    def run(self, seconds: float) -> None:
        self.until = self.machine.time + seconds
        self.stand_by.run()

    def look(self, after: float = LOOK_SECONDS) -> int | None:
        self.machine.go_on(after)
        self.stand_by.look()
        return self.local.standing_by


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    monkeypatch.setattr(formats, "start_renderer", lambda: None)
    monkeypatch.setattr(formats, "stop_renderer", lambda: None)
    return Stage()


def test_it_starts_after_zwaifs_own_start_up(stage: Stage) -> None:
    stage.machine.load = 1.4
    started: list[float] = []

    def each() -> None:
        if stage.machine.time >= 30:
            stage.machine.load = 0.02
        if stage.local.starts and not started:
            started.append(stage.machine.time)

    stage.each = each
    stage.run(60)
    assert stage.local.starts == [GGUF]
    assert 30 + LOOK_SECONDS < started[0] <= 30 + 4 * LOOK_SECONDS


def test_it_starts_after_a_while_even_if_zwaif_is_never_calm(stage: Stage) -> None:
    stage.machine.load = 0.9
    stage.run(LONGEST_START - LOOK_SECONDS)
    assert stage.local.starts == []
    stage.run(LONGEST_START + 2 * LOOK_SECONDS)
    assert stage.local.starts == [GGUF]


def test_nothing_is_started_after_the_shutdown(stage: Stage) -> None:
    stage.run(LOOK_SECONDS)
    assert stage.local.starts == []


def test_nothing_is_started_during_a_reply(stage: Stage) -> None:
    stage.busy = True
    assert stage.look() is None
    stage.busy = False
    assert stage.look() == 1


def test_nothing_is_started_without_room_or_if_it_is_not_wanted(stage: Stage) -> None:
    stage.machine.room = False
    assert stage.look() is None
    stage.machine.room, stage.wanted = True, None
    assert stage.look() is None
    stage.wanted = GGUF
    assert stage.look() == 1


def test_it_is_ended_when_memory_gets_short_even_during_a_reply(stage: Stage) -> None:
    stage.look()
    stage.machine.short = stage.busy = True
    assert stage.look() is None
    stage.machine.short = stage.busy = False
    assert stage.look(AGAIN_SECONDS / 2) is None
    assert stage.look(AGAIN_SECONDS) == 2


def test_it_is_ended_when_it_is_no_longer_wanted_but_not_during_a_load(stage: Stage) -> None:
    stage.look()
    stage.wanted, stage.busy = None, True
    assert stage.look() == 1
    stage.busy = False
    assert stage.look() is None


def test_there_is_one_at_a_time_and_another_model_gets_a_new_one(stage: Stage) -> None:
    assert [stage.look(), stage.look(AGAIN_SECONDS)] == [1, 1]
    stage.wanted = OTHER
    assert stage.look() == 2
    assert stage.local.starts == [GGUF, OTHER]


def test_one_that_takes_too_much_memory_is_ended_and_not_tried_again(stage: Stage) -> None:
    stage.machine.size = MOST_BYTES + 1
    assert stage.look() is None
    assert stage.look(100 * AGAIN_SECONDS) is None
    assert stage.local.starts == [GGUF]


def test_failed_imports_are_tried_again_after_a_while(stage: Stage) -> None:
    stage.local.problem = ModelError("This library is broken. Install it again.")
    assert [stage.look(), stage.look()] == [None, None]
    assert stage.local.starts == [GGUF]
    stage.look(AGAIN_SECONDS)
    assert stage.local.starts == [GGUF, GGUF]


def test_a_process_that_exited_is_replaced_after_a_while(stage: Stage) -> None:
    stage.look()
    stage.local.dismiss()
    assert stage.look() is None
    assert stage.look(AGAIN_SECONDS) == 2


def test_an_unexpected_error_ends_it_with_a_line_in_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    stage.look()
    stage.stand_by._wanted = lambda: 1 / 0  # type: ignore[assignment, return-value]
    stage.run(60)
    assert stage.local.standing_by is None
    assert "The standby worker is switched off after an error" in caplog.text


def test_all_memory_counts_if_the_process_own_share_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(process: psutil.Process) -> None:
        raise OSError(22, "Invalid parameter")

    assert standby_policy.Machine().taken_by(os.getpid()) > 5e6
    monkeypatch.setattr(psutil.Process, "memory_full_info", refused)
    assert standby_policy.Machine().taken_by(os.getpid()) > 5e6
    assert standby_policy.Machine().taken_by(2**22 + 1) == 0


def test_a_real_process_is_started_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    local = LocalModel(command=(sys.executable, str(SCRIPT)))
    short = False
    monkeypatch.setattr(standby_policy.preload_policy, "has_room_for", lambda size: True)
    monkeypatch.setattr(standby_policy.preload_policy, "is_short_of_memory", lambda: short)
    stand_by = StandbyPolicy(local, lambda: GGUF, lambda: False, lambda seconds: True)
    try:
        stand_by.look()
        pid = local.standing_by
        assert pid is not None
        assert 5e6 < stand_by.bytes < psutil.Process(pid).memory_info().rss * 1.01
        short = True
        stand_by.look()
        assert not psutil.pid_exists(pid)
        assert local.standing_by is None
    finally:
        local.close()
        formats.stop_renderer()
