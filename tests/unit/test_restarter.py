"""When the LLM server is started again, on a clock that only its own waiting moves."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from zwaif_fallback.errors import FallbackError
from zwaif_fallback.restart import history, restarter
from zwaif_fallback.restart.restarter import PAUSES, Restarter, Tools, is_gone
from zwaif_fallback.restart.start_command import NoStartCommand, StartCommand
from zwaif_hooks import log
from zwaif_hooks.network import loopback
from zwaif_hooks.storage import files

ADDRESS = "127.0.0.1:5000"
COMMAND = StartCommand(("serve",))
END = 1000.0
"""Seconds after which every outage of a test is over."""


class World:
    """One LLM server, the time, and what happens when. It is also the process that was started last."""

    program = "Ollama"

    def __init__(self) -> None:
        self.time = self.began = 1_000_000.0
        self.listens = False
        self.exit_code: int | None = None
        self.starts: list[float] = []
        self.said: list[str] = []
        self.lines: list[str] = []
        self.problem: Exception | None = None
        self.after_start: Callable[[], None] = lambda: None
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.wanted = True
        self.restarter = self.another_zwaif()

    def another_zwaif(self) -> Restarter:
        tools = Tools(self.said.append, lambda: self.time, self.wait, lambda address: not self.listens, self.start)
        return Restarter(lambda address: self if self.wanted else None, tools)

    def command(self) -> StartCommand:
        if isinstance(self.problem, FallbackError):
            raise self.problem
        return COMMAND

    def start(self, command: StartCommand, output: Path, heading: str, folder: Path | None) -> World:
        assert command is COMMAND and output.name == "llm-server-5000.log"
        self.starts.append(self.time - self.began)
        if isinstance(self.problem, OSError):
            raise self.problem
        self.exit_code = None
        self.after_start()
        return self

    def shorten_output(self) -> None:
        """It writes nothing."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.lines.append(self.restarter.line())
        self.time += seconds
        for item in [item for item in self.due if item[0] <= self.time]:
            self.due.remove(item)
            item[1]()
        if self.time > self.began + END:
            event.set()
        return event.is_set()

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        self.due.append((self.time + seconds, action))

    def set_listening(self, listens: bool) -> None:
        self.listens = listens

    def end(self, code: int) -> None:
        self.listens, self.exit_code = False, code

    def fail(self) -> None:
        """The server is gone and a message finds that out. Returns when nothing more will happen."""
        self.listens, self.began = False, self.time
        self.starts.clear()
        self.restarter.primary_failed(ADDRESS)
        self.join()

    @staticmethod
    def join() -> None:
        for thread in [one for one in threading.enumerate() if one.name == "zwaif-restart"]:
            thread.join(30)
            assert not thread.is_alive()

    def come_up(self, seconds: float) -> None:
        self.later(seconds, lambda: self.set_listening(True))
        self.later(seconds + 1, lambda: self.restarter.primary_recovered(ADDRESS))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    monkeypatch.setattr(log, "log_path", lambda: tmp_path / "zwaif_fallback.log")
    return World()


def test_a_server_that_is_gone_is_started_once_and_is_back(world: World) -> None:
    world.after_start = lambda: world.come_up(20)
    world.fail()
    assert world.starts == [pytest.approx(PAUSES[0], abs=1)]
    assert [line.partition("; ")[0] for line in world.said] == ["Starting Ollama at 127.0.0.1:5000 again (try 1 of 3)"]
    assert "Restarting Ollama: try 1 of 3 in 2 s" in world.lines
    assert "Restarting Ollama: try 1 of 3, 10 s ago" in world.lines
    assert world.restarter.line() == ""


def test_it_is_started_three_times_with_growing_pauses_and_then_given_up(world: World) -> None:
    world.after_start = lambda: world.later(3, lambda: world.end(1))
    world.fail()
    assert len(world.starts) == len(PAUSES)
    gaps = [later - before for before, later in zip([0, *world.starts], world.starts, strict=False)]
    assert gaps == [pytest.approx(pause + ended, abs=1) for pause, ended in zip(PAUSES, (0, 3, 3), strict=True)]
    assert world.said[-1].startswith("Ollama could not be restarted: it was started 3 times in an hour.")
    assert world.restarter.line() == world.said[-1]
    assert sum("ended before it accepted connections (exit code 1)" in line for line in world.said) == 3


def test_a_server_that_comes_back_by_itself_is_not_started(world: World) -> None:
    world.come_up(1)
    world.fail()
    assert world.starts == [] and world.said == []


def test_a_server_that_listens_is_left_alone_however_it_fails(world: World) -> None:
    world.listens, world.due = True, []
    world.restarter.primary_failed(ADDRESS)
    world.join()
    assert world.starts == []


def test_a_server_that_hangs_and_is_then_gone_is_started(world: World) -> None:
    world.listens = True
    world.later(100, lambda: world.set_listening(False))
    world.after_start = lambda: world.come_up(5)
    world.restarter.primary_failed(ADDRESS)
    world.join()
    assert len(world.starts) == 1


def test_a_server_that_starts_but_never_listens_is_not_started_again(world: World) -> None:
    world.fail()
    assert len(world.starts) == 1
    assert "accepts no connections after 30" in world.said[-1]


def test_a_server_that_listens_but_never_answers_is_not_started_again(world: World) -> None:
    world.after_start = lambda: world.set_listening(True)
    world.fail()
    assert len(world.starts) == 1 and len(world.said) == 1


def test_a_launcher_that_ends_without_an_error_gets_time(world: World) -> None:
    world.after_start = lambda: (world.end(0), world.come_up(40))[0]
    world.fail()
    assert len(world.starts) == 1 and len(world.said) == 1


def test_outages_in_a_row_share_the_tries(world: World) -> None:
    world.after_start = lambda: world.come_up(5)
    for expected in (1, 1, 1, 0):
        world.fail()
        assert len(world.starts) == expected
        world.restarter.primary_recovered(ADDRESS)
        world.time += 60
    assert "3 times in an hour" in world.said[-1]


def test_all_tries_are_there_again_after_it_was_well_for_long(world: World) -> None:
    world.after_start = lambda: world.come_up(5)
    for _ in range(20):
        world.fail()
        assert world.starts == [pytest.approx(PAUSES[0], abs=1)]
        world.time += history.WELL_SECONDS


def test_tries_of_an_hour_ago_are_forgotten(world: World) -> None:
    world.after_start = lambda: world.later(3, lambda: world.end(1))
    world.fail()
    world.restarter.primary_recovered(ADDRESS)
    path = history.path_for(ADDRESS)
    past = history.read(path)
    past.well_since = 0.0
    history.write(path, past)
    world.time += history.WINDOW_SECONDS
    world.after_start = lambda: world.come_up(5)
    world.fail()
    assert len(world.starts) == 1


def test_nothing_is_started_once_zwaif_ends(world: World) -> None:
    world.later(1, world.restarter.close)
    world.fail()
    assert world.starts == []
    world.restarter.primary_failed(ADDRESS)
    world.join()
    assert world.starts == []


def test_two_zwaifs_start_it_once(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other one holds the lock, as its own thread would."""
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.05)
    other = world.another_zwaif()
    with files.locked(history.path_for(ADDRESS)):
        other.primary_failed(ADDRESS)
        world.later(10, lambda: world.set_listening(True))
        world.later(12, lambda: other.primary_recovered(ADDRESS))
        world.join()
    assert world.starts == []


def test_another_zwaif_does_not_begin_again_after_it_was_given_up(world: World) -> None:
    world.after_start = lambda: world.later(3, lambda: world.end(1))
    world.fail()
    other = world.another_zwaif()
    other.primary_failed(ADDRESS)
    world.join()
    assert len(world.starts) == 3
    assert "3 times in an hour" in world.said[-1]


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (NoStartCommand("LM Studio was not found"), "LM Studio was not found"),
        (FileNotFoundError(2, "No such file or directory"), "cannot be run (No such file or directory). Correct"),
    ],
)
def test_a_command_that_is_not_there_is_said_once(world: World, problem: Exception, text: str) -> None:
    world.problem = problem
    world.fail()
    assert len(world.said) == 1 and text in world.said[0]


def test_a_new_command_is_tried_at_once(world: World) -> None:
    world.after_start = lambda: world.later(3, lambda: world.end(1))
    world.fail()
    world.after_start = lambda: world.come_up(5)
    world.restarter.setting_changed()
    world.join()
    assert len(world.starts) == 4
    assert not world.restarter.line()


def test_switched_off_in_the_middle_nothing_is_started(world: World) -> None:
    def switch_off() -> None:
        world.wanted = False
        world.restarter.setting_changed()

    world.later(1, switch_off)
    world.fail()
    assert world.starts == [] and world.restarter.line() == ""


def test_a_damaged_history_counts_as_none(world: World) -> None:
    path = history.path_for(ADDRESS)
    for damage in (b"", b"\xff", b"[]", b'{"tries": ["x"]}', b'{"tries": 3, "since": "now"}', b"[" * 10_000):
        path.write_bytes(damage)
        assert history.read(path) == history.History()


def test_a_line_of_long_ago_is_not_shown(world: World) -> None:
    past = history.History([world.time], state=history.STARTING, program="Ollama", most=3, since=world.time)
    assert past.line(world.time + 5) == "Restarting Ollama: try 1 of 3, 5 s ago"
    assert past.line(world.time + history.WINDOW_SECONDS) == "" == past.line(world.time - 1)


# --- what counts as gone ----------------------------------------------------------------------------------------------


def test_gone_means_that_nothing_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        assert not is_gone(address)
    assert is_gone(address)
    assert is_gone(address.replace("127.0.0.1", "localhost"))


@pytest.mark.parametrize("address", ["192.168.1.5:5000", "example.com:80", "127.0.0.1", "", "localhost:http"])
def test_a_server_elsewhere_is_never_gone(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback, "connect", lambda *_: pytest.fail("it was asked"))
    assert not is_gone(address)


def test_a_server_that_is_too_busy_to_accept_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(host: str, port: int, timeout: float) -> socket.socket:
        raise TimeoutError

    monkeypatch.setattr(restarter.loopback, "connect", busy)
    assert not is_gone(ADDRESS)


def test_no_more_sockets_for_us_does_not_mean_that_it_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(host: str, port: int, timeout: float) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(restarter.loopback, "connect", full)
    assert not is_gone(ADDRESS)
