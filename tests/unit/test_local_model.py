"""The local model as Z-Waif uses it: real worker processes, scripted models."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers import HELPERS
from tests.helpers.waiting import wait_until
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.errors import EngineError, ModelError, WorkerDied, WorkerHung
from zwaif_fallback.local import loader, model_files, standby_worker
from zwaif_fallback.local import model as local_model
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.workers.protocol import pack
from zwaif_fallback.workers.worker_process import WorkerProcess, describe_exit, worker_environment
from zwaif_hooks.stream import CancelScope

SCRIPT = HELPERS / "scripted_worker.py"
REDIRECTOR = HELPERS / "redirector.py"
COMMAND = (sys.executable, str(SCRIPT))
WAIT = 30.0
"""Seconds after which a test has failed; nothing takes this long."""

MakeModel = Callable[..., LocalModel]


@pytest.fixture
def make_model() -> Iterator[MakeModel]:
    made: list[LocalModel] = []

    def make(name: str = "a", **options: Any) -> LocalModel:
        options.setdefault("fits_beside", lambda _: True)
        made.append(LocalModel(command=COMMAND, **options))
        if name:
            made[-1].load(LoadOptions(name))
        return made[-1]

    yield make
    for model in made:
        model.close()


def count(max_tokens: int = 300) -> Generation:
    return Generation("count ", max_tokens=max_tokens)


def numbers(name: str, stop: int, start: int = 0) -> str:
    return "".join(f"{name}{number} " for number in range(start, stop))


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL if os.name == "posix" else signal.SIGTERM)
    assert wait_until(lambda: is_gone(pid))


def is_gone(pid: int | None) -> bool:
    """Ended, and its parent knows: waiting for it here would take the exit status away from the parent."""
    assert pid is not None
    return not psutil.pid_exists(pid)


def in_thread(work: Callable[[], Any]) -> Callable[[], Any]:
    """Run ``work`` beside the test; call the result to wait for its value."""
    out: list[Any] = []
    thread = threading.Thread(target=lambda: out.append(work()), daemon=True)
    thread.start()

    def wait() -> Any:
        thread.join(WAIT)
        assert out, "it did not come back, or it raised"
        return out[0]

    return wait


def test_pieces_arrive_with_stats(make_model: MakeModel) -> None:
    model = make_model()
    stats = GenerationStats()
    assert "".join(model.generate(count(5), stats)) == numbers("a", 5)
    assert (stats.generated_tokens, stats.finish_reason) == (5, "length")
    assert (model.state, model.loaded is not None) == ("ready", True)


def test_output_of_libraries_does_not_reach_the_protocol(make_model: MakeModel) -> None:
    assert "".join(make_model().generate(Generation("print"))) == "printed 😀 \ud83d"


def test_the_protocol_does_not_use_the_standard_handles(make_model: MakeModel) -> None:
    lines: list[str] = []
    model = make_model("")
    model.load(LoadOptions("curious"), lines.append)
    assert lines[0] == "('', b'')", "a library that reads stdin takes nothing of ours, and does not wait"
    assert "".join(model.generate(count(2))) == numbers("curious", 2)


def test_pid_is_the_worker_and_not_the_redirector_that_started_it() -> None:
    model = LocalModel(command=(sys.executable, str(REDIRECTOR), str(SCRIPT)))
    model.load(LoadOptions("a"))
    worker = model._worker
    assert worker is not None
    started, computes = worker._process.pid, model.pid
    assert computes is not None
    assert computes != started
    assert computes in [child.pid for child in psutil.Process(started).children(recursive=True)]
    model.close()
    assert wait_until(lambda: is_gone(computes), SOON)


def test_an_exception_in_the_engine_leaves_the_worker_alive(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its traceback goes to the log file, which the worker writes."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    model = make_model()
    pid = model.pid
    with pytest.raises(EngineError, match="failed in an unexpected way"):
        list(model.generate(Generation("raise")))
    assert "".join(model.generate(count(2))) == numbers("a", 2)
    assert model.pid == pid


def test_tokens_are_counted_also_while_a_reply_runs(make_model: MakeModel) -> None:
    model = make_model()
    pieces = model.generate(count())
    next(pieces)
    assert model.count_tokens(["one two", "", "one two", "one"]) == [2, 0, 2, 1]
    assert model.count_tokens([]) == []
    pieces.close()  # type: ignore[attr-defined]


def test_counts_are_remembered(make_model: MakeModel) -> None:
    model = make_model()
    assert model.count_tokens(["one two"]) == [2]
    pid = model.pid
    kill(pid)
    assert model.count_tokens(["one two"]) == [2]
    assert wait_until(lambda: model.pid is None), "a remembered count needs no worker"


def test_loading_the_loaded_model_does_nothing(make_model: MakeModel) -> None:
    model = make_model()
    pid = model.pid
    assert model.load(LoadOptions("a")) is model.loaded
    assert model.pid == pid


def test_worker_runs_outside_the_current_folder_with_plugins_off(make_model: MakeModel) -> None:
    lines: list[str] = []
    make_model("").load(LoadOptions("folder"), lines.append)
    folder, plugins = lines[0], lines[1]
    assert Path(folder) != Path.cwd()
    assert not (Path(folder) / "utils").exists()
    assert plugins == "OFF"


def test_failed_first_load_says_why_and_generate_repeats_it(make_model: MakeModel) -> None:
    model = make_model("")
    with pytest.raises(ModelError, match="This model is broken"):
        model.load(LoadOptions("broken"))
    assert (model.state, model.state_line) == ("failed", "This model is broken. Choose another.")
    with pytest.raises(ModelError, match="This model is broken"):
        next(model.generate(count()))


def test_a_load_fails_if_the_process_cannot_be_started(make_model: MakeModel, tmp_path: Path) -> None:
    model = LocalModel(command=(str(tmp_path / "no python"),))
    with pytest.raises(EngineError, match="could not be started"):
        model.load(LoadOptions("a"))
    assert model.state == "failed" and "could not be started" in model.state_line


def test_without_a_model_the_error_names_the_next_step(make_model: MakeModel) -> None:
    with pytest.raises(ModelError, match="Press Load Model"):
        next(make_model("").generate(count()))


# Death


def test_a_crash_during_a_reply_names_the_cause_and_the_next_reply_restarts_the_worker(make_model: MakeModel) -> None:
    model = make_model()
    pieces = model.generate(Generation("crash"))
    assert next(pieces) == "one "
    with pytest.raises(WorkerDied, match=r"exit code 7 \(RuntimeError: the graphics driver is gone\)"):
        list(pieces)
    assert model.state == "failed"
    assert "".join(model.generate(count(3))) == numbers("a", 3)
    assert model.state == "ready"


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_worker_killed_during_a_reply_is_restarted_by_the_next(make_model: MakeModel) -> None:
    model = make_model()
    pieces = model.generate(count())
    next(pieces)
    kill(model.pid)
    with pytest.raises(WorkerDied, match="killed, most often because memory ran out"):
        list(pieces)
    assert "".join(model.generate(count(3))) == numbers("a", 3)


def test_a_worker_killed_between_replies_is_restarted_unnoticed(make_model: MakeModel) -> None:
    model = make_model()
    kill(model.pid)
    assert "".join(model.generate(count(3))) == numbers("a", 3)


def test_a_hanging_worker_is_killed_and_the_next_reply_restarts_it(make_model: MakeModel) -> None:
    model = make_model(hang_timeout=3.0)
    pieces = model.generate(Generation("hang"))
    assert next(pieces) == "one "
    pid = model.pid
    with pytest.raises(WorkerHung, match="no progress for 3 s"):
        list(pieces)
    assert is_gone(pid)
    assert "".join(model.generate(count(3))) == numbers("a", 3)


def test_a_load_that_hangs_is_ended(make_model: MakeModel) -> None:
    model = make_model("", hang_timeout=3.0)
    with pytest.raises(WorkerHung, match="did not finish loading"):
        model.load(LoadOptions("never"))
    assert model.state == "failed"


def test_a_load_that_stays_busy_for_ever_is_ended(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "LEAST_TO_START", 1.0)
    model = make_model("", hang_timeout=1.0)
    with pytest.raises(WorkerHung, match="did not finish loading within"):
        model.load(LoadOptions("busy"))


def test_a_model_that_hung_while_loading_is_refused_until_its_files_change_or_the_user_asks(
    make_model: MakeModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_model, "absolute", lambda options: options)  # keeps the name that means what to do
    monkeypatch.setattr(model_files, "is_path", lambda name: True)
    monkeypatch.chdir(tmp_path)
    Path("never").write_bytes(b"1")
    model = make_model("", hang_timeout=0.5)
    started: list[object] = []
    real = loader.WorkerProcess
    monkeypatch.setattr(loader, "WorkerProcess", lambda *given, **more: started.append(given) or real(*given, **more))

    def load() -> int:
        with pytest.raises(WorkerHung, match="tried again when its files change, or when you load it"):
            model.load(LoadOptions("never"))
        return len(started)

    assert [load(), load(), load()] == [1, 1, 1]
    model.try_again()
    assert [load(), load()] == [2, 2]
    Path("never").write_bytes(b"another one")
    assert [load(), load()] == [3, 3]


def test_a_model_is_given_up_after_two_replies_that_hang(make_model: MakeModel) -> None:
    model = make_model(hang_timeout=1.0)
    for said in ("starts again with the next reply", "2 times in a row.*when you load it"):
        with pytest.raises(WorkerHung, match=said):
            list(model.generate(Generation("hang")))
    with pytest.raises(WorkerHung, match="when you load it"):
        list(model.generate(count(3)))
    assert model.pid is None, "not started for it"
    model.try_again()
    assert "".join(model.generate(count(3))) == numbers("a", 3)
    with pytest.raises(WorkerHung, match="starts again with the next reply"):
        list(model.generate(Generation("hang")))


# The queue


def test_replies_are_served_in_order(make_model: MakeModel, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "zwaif_fallback")
    model = make_model()
    first = model.generate(count(20))
    next(first)
    order: list[str] = []
    waiters = []
    for name in ("second", "third"):
        waiters.append(in_thread(lambda name=name: (list(model.generate(count(2))), order.append(name))))  # type: ignore[misc]
        assert wait_until(lambda: len(model._queue._tickets) == 1 + len(waiters))
    assert order == []
    list(first)
    for wait in waiters:
        wait()
    assert order == ["second", "third"]


def test_closing_a_reply_frees_the_worker_at_once(make_model: MakeModel) -> None:
    model = make_model()
    pieces = model.generate(count())
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert "".join(model.generate(count(2))) == numbers("a", 2)


def test_another_thread_can_close_a_reply_that_is_being_read(make_model: MakeModel) -> None:
    model, said = make_model(), list[str]()
    pieces, heard = model.generate(Generation("hang")), threading.Event()

    def read() -> None:
        for piece in pieces:
            said.append(piece)
            heard.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    assert heard.wait(WAIT)
    pieces.close()
    reader.join(WAIT)
    assert not reader.is_alive() and said == ["one "]


def test_dropping_a_reply_frees_the_worker(make_model: MakeModel) -> None:
    model = make_model()
    pieces = model.generate(count())
    next(pieces)
    del pieces
    gc.collect()
    assert "".join(model.generate(count(2))) == numbers("a", 2)


def test_a_reply_that_is_never_read_takes_no_place_in_the_queue(make_model: MakeModel) -> None:
    model = make_model()
    unread = model.generate(count())
    assert "".join(model.generate(count(2))) == numbers("a", 2)
    assert next(unread) == "a0 "


def test_a_reader_that_stays_away_loses_its_place_and_continues_when_it_is_back(make_model: MakeModel) -> None:
    model = make_model(abandoned_after=0.3)
    stats = GenerationStats()
    left = model.generate(count(300), stats)
    assert next(left) == "a0 "
    assert "".join(model.generate(count(2))) == numbers("a", 2)
    assert "a0 " + "".join(left) == numbers("a", 300), "the reader that came back must not lose or repeat a word"
    assert (stats.generated_tokens, stats.finish_reason) == (300, "length")


def test_a_reply_that_lost_its_place_inside_a_word_continues_that_word(make_model: MakeModel) -> None:
    """All that was said since the prompt's own words may be written again, the beginning of the word included."""
    model, asked = make_model(abandoned_after=0.3), list[Generation]()
    begin = model._replies._begin

    def noted(worker: WorkerProcess, generation: Generation, scope: CancelScope) -> Any:
        asked.append(generation)
        return begin(worker, generation, scope)

    model._replies._begin = noted  # type: ignore[method-assign]
    left = model.generate(Generation("count a0 a", max_tokens=300, heal=1))
    said = next(left)
    assert "".join(model.generate(count(2))) == numbers("a", 2)
    while len(asked) < 3:
        before, said = said, said + next(left)
    assert asked[2].prompt == "count a0 a" + before
    assert asked[2].heal == 1 + len(before)


def test_the_worker_is_only_a_little_ahead_of_its_reader(make_model: MakeModel) -> None:
    model = make_model(abandoned_after=0.3)
    stats = GenerationStats()
    left = model.generate(count(300), stats)
    next(left)
    list(model.generate(count(1)))
    part = model._replies._until_evicted(count(300), stats, CancelScope())
    next(part)
    list(model.generate(count(1)))
    assert len(list(part)) < 100, "all 300 were made though nobody read"


# Switching


def test_a_running_reply_finishes_on_its_own_model(make_model: MakeModel) -> None:
    model = make_model("a")
    running = model.generate(count(200))
    first = next(running)
    old = model.pid
    model.load(LoadOptions("b"))
    assert model.loaded is not None
    assert model.loaded.info.name == "b"
    assert not is_gone(old), "the running reply needs it"
    assert first + "".join(running) == numbers("a", 200)
    assert "".join(model.generate(count(2))) == numbers("b", 2)
    assert wait_until(lambda: is_gone(old))


def test_a_reader_that_was_away_during_a_switch_continues_with_the_new_model(make_model: MakeModel) -> None:
    model = make_model("a", abandoned_after=0.3)
    left = model.generate(count(300))
    text = next(left)
    old = model.pid
    model.load(LoadOptions("b"))
    assert wait_until(lambda: is_gone(old))
    text += "".join(left)
    split = text.index("b")
    words = len(text[:split].split())
    assert 0 < words < 300
    assert text == numbers("a", words) + numbers("b", 300, start=words)


def test_a_failed_switch_keeps_the_old_model(make_model: MakeModel) -> None:
    model = make_model("a")
    pid = model.pid
    with pytest.raises(ModelError, match="This model is broken"):
        model.load(LoadOptions("broken"))
    assert "".join(model.generate(count(2))) == numbers("a", 2)
    assert (model.pid, model.state) == (pid, "ready")
    assert model.state_line.startswith("a serves on. broken could not be loaded: This model is broken")


def test_without_room_for_both_the_old_model_is_unloaded_after_its_reply(make_model: MakeModel) -> None:
    model = make_model("a", fits_beside=lambda _: False)
    old = model.pid
    running = model.generate(count(100))
    first = next(running)
    lines: list[str] = []
    switching = in_thread(lambda: model.load(LoadOptions("b"), lines.append))
    assert wait_until(lambda: len(model._queue._tickets) == 2)
    assert first + "".join(running) == numbers("a", 100), "the running reply finishes before its model goes"
    switching()
    assert is_gone(old)
    assert "Not enough memory" in lines[0]
    assert "".join(model.generate(count(2))) == numbers("b", 2)


def test_without_room_for_both_a_failed_switch_loads_the_old_model_again(make_model: MakeModel) -> None:
    model = make_model("a", fits_beside=lambda _: False)
    with pytest.raises(ModelError, match="This model is broken"):
        model.load(LoadOptions("broken"))
    assert "".join(model.generate(count(2))) == numbers("a", 2)
    assert model.state == "ready"
    assert model.loaded is not None
    assert model.loaded.info.name == "a"


def test_many_callers_and_switches_at_once(make_model: MakeModel) -> None:
    model = make_model("a")
    replies = [in_thread(lambda: "".join(model.generate(count(30)))) for _ in range(6)]
    switches = [in_thread(lambda name=name: model.load(LoadOptions(name))) for name in ("b", "c", "b")]  # type: ignore[misc]
    for wait in switches:
        wait()
    for wait in replies:
        assert wait() in {numbers(name, 30) for name in "abc"}


# Ending


def test_unloading_ends_the_process(make_model: MakeModel) -> None:
    model = make_model()
    pid = model.pid
    model.unload()
    assert is_gone(pid)
    assert (model.state, model.loaded, model.pid) == ("empty", None, None)


def test_a_standby_worker_is_not_a_loaded_model_and_takes_the_next_load(make_model: MakeModel) -> None:
    model = make_model("")
    model.stand_by(LoadOptions("a"))
    standing = model.standing_by
    assert standing is not None and psutil.pid_exists(standing)
    assert (model.loaded, model.pid, model.state) == (None, None, "empty")
    model.load(LoadOptions("b"))
    assert (model.pid, model.standing_by) == (standing, None)
    assert "".join(model.generate(count(3))) == numbers("b", 3)


def test_a_standby_worker_for_another_engine_is_ended_by_a_load(make_model: MakeModel) -> None:
    model = make_model("")
    model.stand_by(LoadOptions("a"))
    standing = model.standing_by
    model.load(LoadOptions("a.gguf"))
    assert model.pid != standing
    assert wait_until(lambda: is_gone(standing))


def test_a_load_does_not_wait_for_a_standby_worker_that_is_not_ready(make_model: MakeModel) -> None:
    model = make_model("")
    prepared = in_thread(lambda: model.stand_by(LoadOptions("slow")) or "over")
    assert wait_until(lambda: model._loader.standby._prepared is not None)
    assert model.standing_by is None
    model.load(LoadOptions("a"))
    assert prepared() == "over"
    assert "".join(model.generate(count(2))) == numbers("a", 2)


def test_a_new_process_loads_if_the_standby_worker_is_gone(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model("")
    model.stand_by(LoadOptions("a"))
    kill(model.standing_by)
    assert model.standing_by is None
    monkeypatch.setattr(standby_worker._Prepared, "can_load", lambda self, options: True)  # it ends a moment later
    model.load(LoadOptions("a"))
    assert "".join(model.generate(count(2))) == numbers("a", 2)


def test_a_new_standby_worker_replaces_the_first(make_model: MakeModel) -> None:
    model = make_model("")
    model.stand_by(LoadOptions("a"))
    first = model.standing_by
    model.stand_by(LoadOptions("a.gguf"))
    assert wait_until(lambda: is_gone(first))
    assert model.standing_by not in (None, first)


def test_failed_imports_are_reported_and_leave_no_process(make_model: MakeModel) -> None:
    model = make_model("")
    with pytest.raises(ModelError, match="Install it again"):
        model.stand_by(LoadOptions("unready"))
    assert model.standing_by is None
    assert model.load(LoadOptions("a")).info.name == "a"


def test_a_standby_worker_can_be_dismissed_and_ends_with_the_model(make_model: MakeModel) -> None:
    model = make_model("")
    for end in (model.dismiss, model.close):
        model.stand_by(LoadOptions("a"))
        standing = model.standing_by
        end()
        assert wait_until(lambda: is_gone(standing))  # noqa: B023
        assert model.standing_by is None


def test_closing_ends_the_running_reply_and_refuses_everything_after_it(make_model: MakeModel) -> None:
    model = make_model()
    pieces = model.generate(count())
    next(pieces)
    model.close()
    with pytest.raises(EngineError, match=r"^The local model was closed\.$"):
        list(pieces)
    with pytest.raises(EngineError, match="closed"):
        next(model.generate(count()))


def test_closing_during_a_load_is_no_fault_of_the_model(make_model: MakeModel) -> None:
    model = make_model("")
    with pytest.raises(EngineError, match=r"^The local model was closed\.$"):
        model.load(LoadOptions("never"), lambda line: model.close())


PARENT = """
import sys, threading
from zwaif_fallback.engine_types import Generation, LoadOptions
from zwaif_fallback.local.model import LocalModel
model = LocalModel(command=(sys.executable, *sys.argv[1:]))
{what}
print("ready", flush=True)
threading.Event().wait()
"""
IDLE = "model.load(LoadOptions('a'))"
SPEAKING = "model.load(LoadOptions('a')); pieces = model.generate(Generation('hang')); next(pieces)"
LOADING = (
    "lines = []\n"
    "threading.Thread(target=model.load, args=(LoadOptions('{}'), lines.append), daemon=True).start()\n"
    "while not lines: threading.Event().wait(0.01)"
)
STATES = {
    "idle": IDLE,
    "standing by": "model.stand_by(LoadOptions('a'))",
    "about to stand by": (
        "threading.Thread(target=model.stand_by, args=(LoadOptions('slow'),), daemon=True).start()\n"
        "spare = lambda: model._loader.standby._prepared\n"
        "while not spare() or not spare().worker._told_pid: threading.Event().wait(0.01)"
    ),
    "speaking": SPEAKING,
    "loading": LOADING.format("never"),
    "loading, the interpreter held by native code": LOADING.format("native"),
}
SOON = 2.0
"""Seconds after which everything that Z-Waif started has ended."""


@pytest.mark.parametrize("what", STATES.values(), ids=STATES)
@pytest.mark.parametrize("command", [(str(SCRIPT),), (str(REDIRECTOR), str(SCRIPT))], ids=["direct", "redirected"])
def test_every_process_ends_when_the_parent_is_killed(what: str, command: Sequence[str]) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(what=what), *command],
        stdout=subprocess.PIPE,
        env=worker_environment(os.environ),
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().strip() == b"ready"
    started = psutil.Process(parent.pid).children(recursive=True)
    assert len(started) >= len(command)
    parent.kill()
    parent.wait(WAIT)
    assert not psutil.wait_procs(started, timeout=SOON)[1]


def test_the_worker_ends_when_its_parent_exits_normally() -> None:
    code = PARENT.format(what=SPEAKING).replace("threading.Event().wait()", "print(model.pid)")
    done = subprocess.run(
        [sys.executable, "-c", code, str(SCRIPT)],
        capture_output=True,
        text=True,
        env=worker_environment(os.environ),
        timeout=WAIT,
        check=True,
    )
    assert not psutil.pid_exists(int(done.stdout.split()[1]))


def test_parent_never_imports_torch() -> None:
    code = PARENT.format(what=SPEAKING + "; model.count_tokens(['a']); model.load(LoadOptions('some/model'))")
    code = code.replace("threading.Event().wait()", "print(sorted({'torch', 'transformers'} & set(sys.modules)))")
    done = subprocess.run(
        [sys.executable, "-c", code.replace("command=(", "abandoned_after=0.1, command=("), str(SCRIPT)],
        capture_output=True,
        text=True,
        env=worker_environment(os.environ),
        timeout=WAIT,
        check=True,
    )
    assert done.stdout.splitlines()[1] == "[]"


# Parts


def test_a_worker_says_hello_once_it_runs() -> None:
    worker = WorkerProcess(COMMAND)
    for _ in range(2):
        worker.wait_until_started(WAIT)
    worker.end()
    assert not worker.alive


@pytest.mark.skipif(os.name != "posix" or sys.version_info < (3, 11), reason="process groups of Python 3.11")
def test_ctrl_c_in_the_terminal_does_not_reach_a_worker() -> None:
    """Not even one that has only begun to start: the terminal sends the signal to a process group."""
    worker = WorkerProcess(COMMAND)
    assert os.getpgid(worker.pid) == worker.pid != os.getpgrp()
    worker.kill()


def test_waiting_for_a_worker_ends_when_the_worker_does() -> None:
    worker = WorkerProcess((sys.executable, "-c", "raise SystemExit('no torch here')"))
    with pytest.raises(WorkerDied, match="no torch here"):
        worker.wait_until_started(WAIT)


STRAY = [
    b"{}",
    b"null",
    b"[1]",
    b"a library's own words",
    b"\xff\xfe\x00",
    b"[" * 100_000,
    b'{"id":1,"event":["counts"]}',
    b'{"id":1,"event":"pang"}',
    b'{"id":"1","event":"prepared"}',
    b'{"id":1,"event":"counts"}',
    b'{"id":1,"event":"error","kind":"ModelError"}',
    b'{"id":99,"event":"prepared"}',
    b'{"id":0,"event":"hello","pid":"me"}',
]


def test_a_stray_line_from_the_worker_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    logger = logging.Logger("of the worker's lines", logging.DEBUG)
    logger.addFilter(lambda record: bool(written.append(record.getMessage())))
    monkeypatch.setattr("zwaif_fallback.workers.worker_process.logger", logger)
    script = tmp_path / "strays.py"  # no command line of Windows is as long as these
    code = f"import sys\nsys.stdin.readline()\nfor line in {STRAY}: sys.stdout.buffer.write(line + b'\\n')\n"
    script.write_text(code + 'print(\'{"id":1,"event":"prepared"}\', flush=True); input()', encoding="utf-8")
    worker = WorkerProcess((sys.executable, str(script)))
    try:
        assert worker.ask("prepare", options={}).next_event(WAIT)["event"] == "prepared"
        assert worker.alive
    finally:
        worker.kill()
    assert sum("worker" in line for line in written) >= len(STRAY)


def test_a_stray_line_from_the_parent_is_skipped() -> None:
    worker = WorkerProcess(COMMAND)
    for line in (*STRAY, b'{"id":1,"op":"load"}', b'{"id":1,"op":"describe","picture":""}'):
        worker._outbox.put(line + b"\n")
    assert worker.ask("prepare", options=pack(LoadOptions("m"))).next_event(WAIT)["event"] == "prepared"
    worker.end()


def test_every_exit_status_has_words() -> None:
    assert "memory" in describe_exit(-9)
    assert "SIGSEGV" in describe_exit(-11)
    assert describe_exit(-250) == "it crashed (signal 250)"
    assert describe_exit(0xC0000005) == "it crashed (Windows error 0xc0000005)"
    assert describe_exit(3) == "exit code 3"


def test_a_worker_of_a_source_checkout_finds_both_packages() -> None:
    root = Path(__file__).parents[2]
    assert worker_environment({})["PYTHONPATH"].split(os.pathsep) == [str(root), str(root / "hooks")]


def test_the_worker_environment_keeps_existing_values() -> None:
    environment = worker_environment({"HF_HOME": "/models", "PYTHONPATH": "/own"})
    assert environment["HF_HOME"] == "/models"
    assert environment["PYTHONPATH"].split(os.pathsep)[-1] == "/own"
    assert environment["OMP_WAIT_POLICY"] == "PASSIVE"
    assert worker_environment({"OMP_WAIT_POLICY": "ACTIVE"})["OMP_WAIT_POLICY"] == "ACTIVE"
