"""What was learned about a server is there again after a restart, and a file that cannot be trusted changes nothing."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from zwaif_hooks.failover import learned as module
from zwaif_hooks.failover.breaker import Primary
from zwaif_hooks.failover.deadlines import COLD_AFTER, SHORTEST_WAIT
from zwaif_hooks.failover.learned import KEPT_SECONDS, MOST_SERVERS, RECENT_SECONDS, LearnedFile
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.log import log_path
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.stream import UnmarkedEnd

NAME = "10.1.2.3:5000"
SETTING = 15.0


class Clocks:
    """A monotonic clock and a wall clock that move together; a new one each time the program starts."""

    def __init__(self, started: float) -> None:
        self.wall = started
        self._started = started - 1000.0

    def now(self) -> float:
        return self.wall - self._started

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        return condition.wait_for(predicate, timeout)

    def real(self, seconds: float) -> float:
        return seconds


class Run:
    """One run of Z-Waif."""

    def __init__(self, path: Path, wall: float) -> None:
        self.clocks = Clocks(wall)
        self.changes: list[tuple[str, PrimaryFailure | None, float]] = []
        self.primaries = PrimaryRegistry(lambda *told: self.changes.append(told), self.clocks)
        self.file = LearnedFile(path, self.primaries, lambda: self.clocks.wall)
        self.file.restore()

    @property
    def primary(self) -> Primary:
        return self.primaries.get(NAME)

    def end(self) -> float:
        """Save, and return the time."""
        self.file.save()
        self.primaries.shut_down()
        return self.clocks.wall


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "learned.json"


def quick_run(path: Path, replies: int = 20, seconds: float = 0.2) -> float:
    run = Run(path, 1e9)
    for _ in range(replies):
        run.primary.first_token.observe(1000, seconds)
        run.primary.pauses.observe(0.1, 50)
    return run.end()


def deadline(run: Run) -> float:
    return run.primary.first_token.deadline(1000, SETTING)


def test_deadlines_survive_a_restart(path: Path) -> None:
    run = Run(path, quick_run(path) + 60.0)
    assert deadline(run) == SHORTEST_WAIT
    assert run.primary.pauses.deadline(60.0) == 5.0


def test_a_server_that_may_have_unloaded_its_model_gets_the_setting_first(path: Path) -> None:
    run = Run(path, quick_run(path) + COLD_AFTER + 1.0)
    assert deadline(run) == SETTING
    run.primary.first_token.observe(1000, 4.0)
    assert deadline(run) == SETTING, "four times the slowest, which is the new one"


def test_one_new_reply_is_enough_to_trust_the_old_ones(path: Path) -> None:
    run = Run(path, quick_run(path) + 3600.0)
    run.primary.first_token.observe(1000, 4.0)
    assert deadline(run) > 4.0 * SHORTEST_WAIT


def test_missed_deadlines_survive(path: Path) -> None:
    run = Run(path, quick_run(path) + 1.0)
    run.primary.first_token.missed()
    assert deadline(Run(path, run.end() + 1.0)) == 2 * SHORTEST_WAIT


def test_what_is_old_or_from_the_future_is_dropped(path: Path) -> None:
    wall = quick_run(path)
    for later in (KEPT_SECONDS + 1.0, -3600.0):
        run = Run(path, wall + later)
        run.primary.first_token.observe(1000, 0.2)
        assert deadline(run) == SETTING, "as after a first reply: longer, because little is known"


def test_nothing_is_restored_over_what_this_run_has_seen(path: Path) -> None:
    wall = quick_run(path, seconds=9.0)
    registry = PrimaryRegistry(lambda *told: None, Clocks(wall))
    registry.get(NAME).first_token.observe(1000, 0.2)
    LearnedFile(path, registry, lambda: wall).restore()
    assert registry.get(NAME).first_token.usual(1000) == 0.2


def test_a_server_that_marks_no_ends_stays_known(path: Path) -> None:
    run = Run(path, 1e9)
    for _ in range(6):
        run.primary.ends.is_whole("and then", UnmarkedEnd(knows_marks=True), lambda: False)
    run = Run(path, run.end() + 60.0)
    assert run.primary.ends.is_whole("and then", UnmarkedEnd(knows_marks=True), lambda: False)
    run.primary.ends.observe("stop")
    again = Run(path, run.end() + 60.0)
    assert not again.primary.ends.is_whole("and then", UnmarkedEnd(knows_marks=True), lambda: False)


def test_servers_that_this_run_never_asked_stay_in_the_file_but_are_shown_nowhere(path: Path) -> None:
    run = Run(path, quick_run(path) + 60.0)
    run.primaries.get("10.9.9.9:1").first_token.observe(10, 1.0)
    wall = run.end()
    assert [status.name for status in run.primaries.statuses()] == ["10.9.9.9:1"]
    assert deadline(Run(path, wall + 1.0)) == SHORTEST_WAIT


def test_the_file_keeps_the_newest_servers_and_stays_small(path: Path) -> None:
    run = Run(path, 1e9)
    for number in range(3 * MOST_SERVERS):
        run.clocks.wall += 1.0
        for _ in range(200):
            run.primaries.get(f"10.0.0.{number}:5000").first_token.observe(4000, 0.123456789012345)
    run.end()
    servers = json.loads(path.read_bytes())["servers"]
    assert set(servers) == {f"10.0.0.{number}:5000" for number in range(2 * MOST_SERVERS, 3 * MOST_SERVERS)}
    assert path.stat().st_size < module.LARGEST_FILE / 2


def test_only_its_owner_may_read_the_file(path: Path) -> None:
    if os.name == "nt":
        pytest.skip("Windows has no modes")
    quick_run(path)
    assert path.stat().st_mode & 0o077 == 0


def test_a_file_that_cannot_be_written_costs_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    quick_run(tmp_path / "a file" / "learned.json")


# --- outages ---------------------------------------------------------------------------------------------------------


def hung_run(path: Path, kind: FailureKind = FailureKind.FIRST_TOKEN_TIMEOUT) -> float:
    run = Run(path, quick_run(path) + 1.0)
    run.primary.failed(PrimaryFailure(kind, "it failed"))
    assert run.primary.is_open
    return run.end()


def test_a_server_that_hung_is_asked_with_a_short_deadline_until_it_is_heard(path: Path) -> None:
    run = Run(path, hung_run(path) + 30.0)
    assert not run.primary.is_open
    assert deadline(run) == SHORTEST_WAIT
    run.primary.first_token.observe(1000, 4.0)
    assert deadline(run) > 4.0 * SHORTEST_WAIT


def test_a_slow_server_that_hung_is_given_the_time_it_usually_needs(path: Path) -> None:
    quick_run(path, seconds=4.0)
    run = Run(path, 1e9 + 1.0)
    run.primary.failed(PrimaryFailure(FailureKind.STALLED, "it stopped"))
    assert deadline(Run(path, run.end() + 1.0)) == 6.0


def test_a_server_that_hung_without_one_reply(path: Path) -> None:
    run = Run(path, 1e9)
    run.primary.failed(PrimaryFailure(FailureKind.FIRST_TOKEN_TIMEOUT, "silent"))
    assert deadline(Run(path, run.end() + 1.0)) == SHORTEST_WAIT


def test_an_old_outage_says_nothing(path: Path) -> None:
    assert deadline(Run(path, hung_run(path) + RECENT_SECONDS + 1.0)) == SETTING


def test_an_outage_that_ended_is_no_outage(path: Path) -> None:
    run = Run(path, hung_run(path) + 1.0)
    run.primary.failed(PrimaryFailure(FailureKind.STALLED, "it stopped"))
    run.primary.succeeded()
    assert deadline(Run(path, run.end() + 1.0)) >= SHORTEST_WAIT


@pytest.fixture
def port() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def gone_run(path: Path, name: str) -> float:
    run = Run(path, 1e9)
    run.primaries.get(name).failed(PrimaryFailure(FailureKind.REFUSED, "nothing listens"))
    run.clocks.wall += 100.0
    return run.end()


def test_a_server_that_is_still_gone_is_not_asked_and_its_outage_goes_on(path: Path, port: socket.socket) -> None:
    name = f"127.0.0.1:{port.getsockname()[1]}"
    wall = gone_run(path, name)
    port.close()
    run = Run(path, wall + 20.0)
    run.file.resume_outages()
    assert run.primaries.get(name).is_open
    assert run.primaries.get(name).status().since == pytest.approx(120.0)
    run.primaries.shut_down()


def test_a_server_that_accepts_a_connection_is_asked(path: Path, port: socket.socket) -> None:
    name = f"127.0.0.1:{port.getsockname()[1]}"
    run = Run(path, gone_run(path, name) + 20.0)
    run.file.resume_outages()
    assert not run.primaries.get(name).is_open
    assert run.changes == []


# --- damage ----------------------------------------------------------------------------------------------------------


def log_lines() -> list[str]:
    return [line for line in log_path().read_text(encoding="utf-8").splitlines() if "learned again" in line]


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> bytes:
    data = json.loads(path.read_bytes())
    change(data["servers"][NAME])
    return json.dumps(data).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda server: server.update(first=[[0.1]]),
        lambda server: server.update(first=[["0.1", 0.1]]),
        lambda server: server.update(first=[[-0.1, 0.1]]),
        lambda server: server.update(first=[[0.1, float("nan")]]),
        lambda server: server.update(first=[[0.1, float("inf")]]),
        lambda server: server.update(first=[[True, True]]),
        lambda server: server.update(first=[[0.1, 0.1]] * 65),
        lambda server: server.update(first={"0.1": 0.1}),
        lambda server: server.update(pauses=[None]),
        lambda server: server.update(missed=1e300),
        lambda server: server.update(missed=-1),
        lambda server: server.update(unmarked="6"),
        lambda server: server.update(outage="no such kind"),
        lambda server: server.update(outage=["refused"]),
        lambda server: server.update(at=None),
        lambda server: server.update(idle=-1.0),
        lambda server: server.pop("lasted"),
        lambda server: server.clear(),
    ],
)
def test_a_wrong_value_discards_the_file_with_one_line_in_the_log(
    path: Path, damage: Callable[[dict[str, Any]], object], capsys: pytest.CaptureFixture[str]
) -> None:
    wall = quick_run(path)
    path.write_bytes(changed(path, damage))
    run = Run(path, wall + 60.0)
    assert deadline(run) == SETTING
    assert len(log_lines()) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0" * 4096,
        b"[]",
        b"null",
        b"1e999",
        b'{"version": 2, "servers": {}}',
        b'{"version": 1}',
        b'{"version": 1, "servers": []}',
        b'{"version": 1, "servers": {"a": 1}}',
        b'{"version": 1, "servers": {' + b",".join(b'"%d": {}' % number for number in range(9)) + b"}}",
        b"[" * 100_000,
        b'{"version": ' + b"9" * 100_000,
        b"x" * 10_000_000,
        b"\xff\xfe{\0}\0",
    ],
)
def test_any_other_content_is_discarded(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert deadline(Run(path, 1e9)) == SETTING
    assert len(log_lines()) == 1


def test_every_cut_and_every_flipped_byte_is_survived(path: Path) -> None:
    """A file that is still valid may be used; whatever it says, no wait is longer than the setting or negative."""
    wall = quick_run(path, replies=3)
    whole = path.read_bytes()
    chance = random.Random(7)
    for number in range(400):
        data = bytearray(whole)
        if number % 2:
            del data[chance.randrange(len(data)) :]
        else:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        run = Run(path, wall + 60.0)
        run.file.resume_outages()
        assert 0 < deadline(run) <= SETTING
        assert run.end()


def test_a_folder_in_its_place_is_survived(path: Path) -> None:
    path.mkdir()
    assert deadline(Run(path, 1e9)) == SETTING
    quick_run(path)
    assert path.is_dir()


def test_two_processes_that_write_at_once_leave_a_whole_file(path: Path) -> None:
    wall = quick_run(path)
    runs = [Run(path, wall + 1.0) for _ in range(4)]
    for run in runs:
        run.primary.first_token.observe(1000, 0.2)

    def write(run: Run) -> None:
        for _ in range(50):
            run.file.save()

    threads = [threading.Thread(target=write, args=(run,)) for run in runs]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert deadline(Run(path, wall + 2.0)) == SHORTEST_WAIT
    assert [file.name for file in path.parent.iterdir()] == [path.name], "no temporary file stays"


def test_of_two_processes_each_keeps_what_the_other_learned_of_its_server(path: Path) -> None:
    one, other = Run(path, 1e9), Run(path, 1e9)
    one.primaries.get("10.0.0.1:5000").first_token.observe(1000, 0.2)
    other.primaries.get("10.0.0.2:5000").first_token.observe(1000, 0.4)
    one.file.save()
    other.end()
    one.end()
    assert set(json.loads(path.read_bytes())["servers"]) == {"10.0.0.1:5000", "10.0.0.2:5000"}


def test_an_error_of_the_server_is_no_hang(path: Path) -> None:
    """Whether it still fails shows at once, so the next message goes there as usual."""
    run = Run(path, quick_run(path) + 1.0)
    run.primary.failed(PrimaryFailure(FailureKind.NO_MODEL, "no model is loaded"))
    assert deadline(Run(path, run.end() + 1.0)) == SHORTEST_WAIT
