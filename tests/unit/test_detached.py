"""A program that is started for good: real processes of Python, which a test ends by a file."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from zwaif_fallback.restart import detached
from zwaif_fallback.restart.detached import Started
from zwaif_fallback.restart.start_command import StartCommand

WAIT = 30.0
TALKER = """
import os, sys, time
print("I am in", os.getcwd(), flush=True)
print("my environment:", os.environ.get("MARK"), file=sys.stderr, flush=True)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.02)
    if os.path.exists(sys.argv[1] + ".say"):
        print("more", flush=True)
        os.remove(sys.argv[1] + ".say")
"""


def until(condition: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@pytest.fixture
def stop(tmp_path: Path) -> Iterator[Path]:
    """The file that ends the program."""
    file = tmp_path / "stop"
    yield file
    file.touch()


@pytest.fixture
def talker(tmp_path: Path, stop: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Started]:
    monkeypatch.setenv("MARK", "as it is")
    command = StartCommand((sys.executable, "-c", TALKER, str(stop)))
    started = Started(command, tmp_path / "log" / "server.log", "--- try 1", tmp_path)
    yield started
    stop.touch()
    until(lambda: started.exit_code is not None, "it does not end")


def output_of(started: Started) -> str:
    return started._output.read_text(encoding="utf-8", errors="replace")


def test_its_output_its_folder_and_its_environment(talker: Started, tmp_path: Path) -> None:
    until(lambda: "as it is" in output_of(talker), "it says nothing")
    lines = output_of(talker).splitlines()
    assert lines == ["--- try 1", f"I am in {tmp_path}", "my environment: as it is"]


def test_its_output_is_kept_short_while_it_writes(talker: Started, stop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    until(lambda: "as it is" in output_of(talker), "it says nothing")
    talker.shorten_output()
    assert "I am" in output_of(talker)
    monkeypatch.setattr(detached, "LARGEST_OUTPUT", 10)
    talker.shorten_output()
    assert output_of(talker) == ""
    stop.with_name("stop.say").touch()
    until(lambda: output_of(talker), "it says no more")
    assert output_of(talker).split() == ["more"]


def test_a_long_output_moves_aside_before_the_next_start(
    tmp_path: Path, talker: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "earlier.log"
    output.write_bytes(b"x" * 100)
    monkeypatch.setattr(detached, "LARGEST_OUTPUT", 100)
    started = Started(StartCommand((sys.executable, "-c", "print('new')")), output, "--- try 2", None)
    until(lambda: started.exit_code is not None, "it does not end")
    assert output.read_text(encoding="utf-8").split() == ["---", "try", "2", "new"]
    assert output.with_name("earlier.log.1").read_bytes() == b"x" * 100


@pytest.mark.skipif(os.name == "nt", reason="sessions are POSIX; on Windows it has a console and a group of its own")
def test_it_has_a_session_of_its_own_and_no_file_of_ours(talker: Started) -> None:
    with socket.create_server(("127.0.0.1", 0)) as ours:
        os.set_inheritable(ours.fileno(), True)
        assert os.getsid(talker.pid) == talker.pid != os.getsid(0)
        process = psutil.Process(talker.pid)
        until(lambda: "as it is" in output_of(talker), "it says nothing")
        assert process.net_connections() == []
        assert {file.path for file in process.open_files()} <= {str(talker._output)}


def test_no_socket_of_ours_stays_open_in_it(tmp_path: Path, stop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If it inherited a listening socket of Z-Waif's page, the port would stay taken after Z-Waif's end."""
    with socket.create_server(("127.0.0.1", 0)) as ours:
        os.set_inheritable(ours.fileno(), True) if os.name != "nt" else os.set_handle_inheritable(ours.fileno(), True)
        address = ours.getsockname()
        monkeypatch.setenv("MARK", "as it is")
        started = Started(StartCommand((sys.executable, "-c", TALKER, str(stop))), tmp_path / "log", "---", None)
    until(lambda: "as it is" in output_of(started), "it says nothing")
    with pytest.raises(OSError):
        socket.create_connection(address, 5).close()
    stop.touch()
    until(lambda: started.exit_code is not None, "it does not end")


def test_it_goes_on_when_the_one_who_started_it_has_ended(tmp_path: Path, stop: Path) -> None:
    output = tmp_path / "server.log"
    starter = (
        "import os, pathlib\n"
        "from zwaif_fallback.restart.detached import Started\n"
        "from zwaif_fallback.restart.start_command import StartCommand\n"
        f"command = StartCommand(({sys.executable!r}, '-c', {TALKER!r}, {str(stop)!r}))\n"
        f"print(Started(command, pathlib.Path({str(output)!r}), '---', None).pid)\n"
    )
    ended = subprocess.run([sys.executable, "-c", starter], capture_output=True, text=True, timeout=WAIT, check=True)
    process = psutil.Process(int(ended.stdout))
    assert process.is_running() and ended.stderr == ""
    stop.touch()
    process.wait(WAIT)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no zombies")
def test_nothing_is_left_of_one_that_was_killed(talker: Started) -> None:
    psutil.Process(talker.pid).kill()
    until(lambda: talker.exit_code is not None, "nobody waits for it")
    assert not psutil.pid_exists(talker.pid)


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError):
        Started(StartCommand((str(tmp_path / "gone"),)), tmp_path / "log", "---", None)


@pytest.mark.skipif(os.name != "nt", reason="batch files are for Windows")
def test_a_batch_file_in_a_folder_with_spaces(tmp_path: Path) -> None:
    from zwaif_fallback.models.program_folders import this_machine
    from zwaif_fallback.restart.start_command import split

    script = tmp_path / "my server" / "start.bat"
    script.parent.mkdir()
    script.write_text("@echo off\r\necho said %1\r\npause\r\nexit 3\r\n", encoding="ascii")
    started = Started(split(f'"{script}" hello', this_machine()), tmp_path / "log", "---", None)
    until(lambda: started.exit_code is not None, "it does not end")
    assert started.exit_code == 3 and "said hello" in output_of(started)
