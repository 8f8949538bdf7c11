"""A plugin is guarded as the server is: deadlines, pauses after a failure, and one line for one bug."""

from __future__ import annotations

import inspect
import re
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import zwaif_hooks as zw
from tests.helpers.waiting import wait_until
from zwaif_hooks.plugins import PluginManager, State, hook_table
from zwaif_hooks.plugins.complaints import REPEAT_SECONDS, Complaints
from zwaif_hooks.plugins.hook_table import HOOKS, Kind
from zwaif_hooks.plugins.trace import LONGEST, traced

REQUEST = zw.ChatRequest("oobabooga", (zw.Message("user", "Hi"),))
FAILURE = zw.PrimaryFailure(zw.FailureKind.REFUSED, "connection refused by 127.0.0.1:5000")
RECORD = zw.AnswerRecord(REQUEST, FAILURE, "parrot", "a model", "Hello.", 6.0, 7.0)


class HandClock:
    """Stands still until a test moves it."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        raise AssertionError("no guard waits by this clock")

    def real(self, seconds: float) -> float:
        return seconds


class Parrot:
    """Its hooks do what ``does`` says."""

    def __init__(self, does: Callable[[], Any]) -> None:
        self.does = does
        self.calls = 0
        self.called = threading.Event()

    def _called(self) -> Any:
        self.calls += 1
        self.called.set()
        return self.does()

    @zw.hookimpl
    def on_primary_failure(self) -> Any:
        return self._called()

    @zw.hookimpl
    def format_prompt(self) -> Any:
        return self._called()

    @zw.hookimpl
    def fallback_answered(self) -> None:
        self._called()


class Scene:
    """A manager with one guarded plugin, a clock and the lines it reported."""

    def __init__(self, does: Callable[[], Any]) -> None:
        self.lines: list[str] = []
        self.errors: list[BaseException | None] = []
        self.clock = HandClock()
        self.manager = PluginManager(self._report, clock=self.clock)
        self.parrot = Parrot(does)
        assert self.manager.register(self.parrot, "parrot", guarded=True)

    def _report(self, line: str, error: BaseException | None) -> None:
        self.lines.append(line)
        self.errors.append(error)

    def prompt(self) -> str | None:
        return self.manager.format_prompt(REQUEST.messages, zw.ModelInfo("m"), "")

    def answer(self) -> str | None:
        found = self.manager.answer(REQUEST, FAILURE)
        return None if found is None else "".join(found[1].pieces)

    def told(self, record: zw.AnswerRecord = RECORD) -> None:
        """Tell the plugin of a reply, and wait until it heard."""
        self.parrot.called.clear()
        self.manager.hook.fallback_answered(record=record)
        assert self.parrot.called.wait(10)


def raises(error: BaseException) -> Callable[[], Any]:
    def do() -> Any:
        raise error

    return do


@pytest.fixture
def never() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


# --- pauses ----------------------------------------------------------------------------------------------------------


def test_a_hook_that_failed_is_not_called_for_a_while_and_then_again() -> None:
    scene = Scene(raises(KeyError("model")))
    assert scene.prompt() is None and scene.prompt() is None
    assert scene.parrot.calls == 1
    assert scene.lines == ["Plugin 'parrot' failed in format_prompt, which is skipped for 30 s: KeyError 'model'"]
    scene.clock.time += 30
    scene.parrot.does = lambda: "a prompt"
    assert scene.prompt() == "a prompt"


def test_the_pause_doubles_up_to_five_minutes_and_a_success_ends_that() -> None:
    scene = Scene(raises(KeyError("model")))
    pauses = []
    for _ in range(6):
        scene.prompt()
        (state,) = scene.manager.states()
        ((_, seconds),) = state.paused
        pauses.append(seconds)
        scene.clock.time += seconds
    assert pauses == [30, 60, 120, 240, 300, 300]
    scene.parrot.does = lambda: "a prompt"
    scene.prompt()
    scene.parrot.does = raises(KeyError("model"))
    scene.prompt()
    assert scene.manager.states()[0].paused == (("format_prompt", 30.0),)


def test_only_the_hook_that_failed_is_paused() -> None:
    scene = Scene(raises(KeyError("model")))
    scene.prompt()
    scene.parrot.does = lambda: "Squawk!"
    assert scene.answer() == "Squawk!"


def test_an_answer_that_failed_is_not_asked_for_again_at_once() -> None:
    scene = Scene(raises(ValueError("no such voice")))
    assert scene.answer() is None
    assert scene.manager.answerers() == []
    scene.clock.time += 30
    assert scene.manager.answerers() == ["parrot"]


def test_a_problem_is_one_line_in_the_plugins_own_words_with_its_own_pause() -> None:
    scene = Scene(raises(zw.PluginProblem("the parrot sleeps\nuntil noon", retry_after=3600)))
    assert scene.answer() is None
    assert scene.lines == [
        "Plugin 'parrot': its on_primary_failure is skipped for 3600 s: the parrot sleeps until noon"
    ]
    assert scene.errors == [None], "no traceback"
    scene.clock.time += 3599
    assert scene.manager.answerers() == []
    scene.clock.time += 1
    assert scene.manager.answerers() == ["parrot"]


def test_a_problem_without_a_time_is_paused_as_any_failure() -> None:
    scene = Scene(raises(zw.PluginProblem("the parrot sleeps")))
    scene.answer()
    assert scene.lines == ["Plugin 'parrot': its on_primary_failure is skipped for 30 s: the parrot sleeps"]


@pytest.mark.parametrize("seconds", [0, -5])
def test_a_problem_that_is_over_at_once_has_no_pause(seconds: float) -> None:
    scene = Scene(raises(zw.PluginProblem("the parrot blinked", retry_after=seconds)))
    assert scene.answer() is None
    assert scene.lines == ["Plugin 'parrot': the parrot blinked"]
    assert scene.manager.answerers() == ["parrot"]


def test_the_built_in_plugin_is_never_paused() -> None:
    manager = PluginManager(lambda line, error: None, clock=HandClock())
    parrot = Parrot(raises(KeyError("model")))
    manager.register(parrot, "fallback")
    for _ in range(2):
        manager.format_prompt(REQUEST.messages, zw.ModelInfo("m"), "")
    assert parrot.calls == 2


# --- hooks that only inform ------------------------------------------------------------------------------------------


def test_one_that_is_only_told_is_told_again_after_it_failed() -> None:
    """Nobody waits for it, and one odd reply must not cost it the next."""
    scene = Scene(raises(KeyError("model")))
    scene.told()
    assert wait_until(lambda: scene.lines)
    assert scene.lines == ["Plugin 'parrot' failed in fallback_answered: KeyError 'model'"]
    scene.parrot.does = lambda: None
    scene.told()
    assert scene.parrot.calls == 2


def test_one_that_is_only_told_may_ask_for_a_pause() -> None:
    scene = Scene(raises(zw.PluginProblem("the disk is full", retry_after=60)))
    scene.told()
    assert wait_until(lambda: scene.lines)
    scene.manager.hook.fallback_answered(record=RECORD)
    scene.clock.time += 60
    scene.told()
    assert scene.parrot.calls == 2


def test_a_slow_listener_costs_the_turn_nothing_and_is_named_and_misses_nothing(
    never: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HOOKS, "fallback_answered", HOOKS["fallback_answered"]._replace(seconds=0.05))
    scene = Scene(never.wait)
    for _ in range(3):
        scene.manager.hook.fallback_answered(record=RECORD)
    assert wait_until(lambda: scene.lines)
    assert scene.lines == [
        "Plugin 'parrot' is slow: it did not finish fallback_answered within 0.05 s, and its other calls wait for that"
    ]
    assert scene.parrot.calls == 1
    never.set()
    assert wait_until(lambda: scene.parrot.calls == 3)


# --- deadlines -------------------------------------------------------------------------------------------------------


def test_a_late_hook_is_named_and_paused_and_not_called_while_it_hangs(
    never: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HOOKS, "format_prompt", HOOKS["format_prompt"]._replace(seconds=0.05))
    scene = Scene(never.wait)
    assert scene.prompt() is None
    assert scene.lines == [
        "Plugin 'parrot': its format_prompt is skipped for 30 s: it did not finish format_prompt within 0.05 s"
    ]
    (state,) = scene.manager.states()
    assert (state.state, state.why) == (State.PAUSED, "it did not finish format_prompt within 0.05 s")
    scene.clock.time += 31
    assert scene.prompt() is None
    assert scene.parrot.calls == 1, "the first call is still running"


def test_the_end_of_a_late_call_does_not_end_its_pause(never: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HOOKS, "format_prompt", HOOKS["format_prompt"]._replace(seconds=0.05))
    scene = Scene(lambda: never.wait() and None)
    assert scene.prompt() is None
    guard = scene.manager.guard_of("parrot", "format_prompt")
    assert guard is not None and guard._hangs is not None
    never.set()
    assert wait_until(guard._hangs.is_over)
    assert scene.prompt() is None and scene.parrot.calls == 1
    scene.clock.time += 30
    scene.prompt()
    assert scene.parrot.calls == 2


def test_a_line_of_a_slow_plugin_costs_its_deadline_and_the_next_one_is_heard(
    never: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HOOKS, "say_while_waiting", HOOKS["say_while_waiting"]._replace(seconds=0.05))

    class Says:
        def __init__(self, what: Callable[[], Any]) -> None:
            self.what = what

        @zw.hookimpl
        def say_while_waiting(self) -> Any:
            return self.what()

    scene = Scene(lambda: None)
    scene.manager.register(Says(lambda: "One moment."), "quick", guarded=True)
    scene.manager.register(Says(never.wait), "slow", guarded=True)
    assert scene.manager.line_while_waiting(REQUEST, FAILURE) == "One moment."
    assert "'slow': its say_while_waiting is skipped for 30 s" in scene.lines[0]


def test_an_inline_hook_is_measured_and_paused_when_it_was_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HOOKS, "zwaif_stopping", hook_table.HookRule(Kind.INLINE, 0.5))
    here = threading.current_thread()
    threads: list[object] = []

    class Ends:
        seconds = 0.0

        @zw.hookimpl
        def zwaif_stopping(self) -> None:
            threads.append(threading.current_thread())
            scene.clock.time += self.seconds

    scene, ends = Scene(lambda: None), Ends()
    scene.manager.register(ends, "ends", guarded=True)
    scene.manager.hook.zwaif_stopping()
    assert (threads, scene.lines) == ([here], [])
    ends.seconds = 0.6
    scene.manager.hook.zwaif_stopping()
    assert scene.lines == [
        "Plugin 'ends': its zwaif_stopping is skipped for 30 s: it did not finish zwaif_stopping within 0.5 s"
    ]
    scene.manager.hook.zwaif_stopping()
    assert threads == [here, here], "it is skipped now"


# --- one bug, one line -----------------------------------------------------------------------------------------------


def fails(message: str) -> BaseException:
    try:
        raise KeyError(message)
    except KeyError as error:
        return error


def test_one_bug_is_told_once_in_a_while_with_how_often_it_happened() -> None:
    """Whatever its message is: of two errors of one type, raised at one place, the second is the same bug."""
    lines: list[str] = []
    clock = HandClock()
    complaints = Complaints(lambda line, error: lines.append(line), clock)
    for number in range(5):
        complaints.tell("parrot", f"failed: {number}", fails(str(number)))
    assert lines == ["failed: 0"]
    clock.time += REPEAT_SECONDS
    complaints.tell("parrot", "failed: 5", fails("5"))
    assert lines[1:] == ["failed: 5 (and 4 times since this was last said)"]
    clock.time += REPEAT_SECONDS
    complaints.tell("parrot", "failed: 6", fails("6"))
    assert lines[2:] == ["failed: 6"]


def test_a_hook_that_goes_on_failing_is_told_once() -> None:
    scene = Scene(raises(KeyError("a")))
    for _ in range(5):
        scene.told()
    assert wait_until(lambda: scene.lines)
    scene.manager.hook.fallback_answered(record=RECORD)
    assert wait_until(lambda: scene.parrot.calls == 6)
    assert scene.lines == ["Plugin 'parrot' failed in fallback_answered: KeyError 'a'"]


def test_another_bug_is_another_line() -> None:
    scene = Scene(raises(KeyError("a")))
    scene.told()
    assert wait_until(lambda: len(scene.lines) == 1)
    scene.parrot.does = lambda: [][1]
    scene.told()
    assert wait_until(lambda: len(scene.lines) == 2)


# --- what was silent -------------------------------------------------------------------------------------------------


def lines_of(plugin: object) -> list[str]:
    lines: list[str] = []
    PluginManager(lambda line, error: lines.append(line)).register(plugin, "parrot", guarded=True)
    return lines


class Forgot:
    @zw.hookimpl
    def say_while_waiting(self) -> str:
        return "One moment."

    def on_primary_failure(self) -> str:
        return "never"


class ByKeyword:
    @zw.hookimpl
    def on_primary_failure(self, *, request: Any) -> str:
        return "never"


class Typed:
    @zw.hookimpl
    def on_primary_failure(self, request: str) -> str:
        return request


class Newer:
    @zw.hookimpl
    def on_primary_failure(self, request: Any, mood: Any) -> str:
        return "never"


class Async:
    @zw.hookimpl
    async def turn_finished(self) -> None:
        raise AssertionError


class AsyncPieces:
    @zw.hookimpl
    async def on_primary_failure(self) -> Any:
        yield "never"


def in_a_module(item: type) -> ModuleType:
    module = ModuleType("zwaif_parrot")
    vars(module)[item.__name__] = item
    return module


class Yields:
    @zw.hookimpl
    def turn_finished(self) -> Any:
        yield


UNCALLED = "Plugin 'parrot' has a hook that is not called: its "
LOST = UNCALLED + "on_primary_failure "


@pytest.mark.parametrize(
    ("plugin", "line"),
    [
        (Forgot(), LOST + "is not marked with @hookimpl"),
        (ByKeyword(), LOST + "takes 'request' by keyword only; remove the * before it"),
        (Newer(), LOST + "asks for 'mood', but that hook only has request, failure"),
        (Async(), UNCALLED + "turn_finished is async and would never run; write def in place of async def"),
        (AsyncPieces(), LOST + "is async and would never run; write def in place of async def"),
        (Yields(), UNCALLED + "turn_finished has a yield and would never run; remove the yield"),
        (
            Typed(),
            "Plugin 'parrot' may misunderstand a hook: its on_primary_failure takes request as str, but gets "
            "ChatRequest",
        ),
        (Forgot, "Plugin 'parrot' is left out: Forgot is a class; the entry point must name an instance of it"),
        (object(), "Plugin 'parrot' is left out: no function of it is marked with @hookimpl"),
        (
            in_a_module(Newer),
            "Plugin 'parrot' is left out: no function of it is marked with @hookimpl; its class Newer has hooks: make "
            "an instance of it, and name that (MODULE:INSTANCE)",
        ),
    ],
    ids=[
        "no mark",
        "by keyword",
        "a newer argument",
        "async",
        "async pieces",
        "a yield",
        "another type",
        "a class",
        "no hook",
        "hooks in a class",
    ],
)
def test_a_mistake_is_told_in_one_line_before_anything_is_called(plugin: object, line: str) -> None:
    assert lines_of(plugin) == [line]


@pytest.mark.parametrize("hook", list(HOOKS))
def test_no_hook_may_be_async(hook: str) -> None:
    async def mistaken() -> None:
        raise AssertionError

    plugin = type("Mistaken", (), {hook: staticmethod(zw.hookimpl(mistaken))})()
    assert lines_of(plugin) == [
        f"{UNCALLED}{hook} is async and would never run; write def in place of async def",
    ]


def test_a_function_around_an_async_one_is_named_by_its_plugin() -> None:
    made: list[Coroutine[Any, Any, str]] = []

    async def squawk() -> str:
        raise AssertionError

    def around() -> Coroutine[Any, Any, str]:
        made.append(squawk())
        return made[-1]

    scene = Scene(around)
    assert scene.prompt() is None and scene.answer() is None
    assert len(scene.lines) == 2
    assert all("'parrot'" in line and "is async and never ran" in line for line in scene.lines), scene.lines
    assert [inspect.getcoroutinestate(one) for one in made] == [inspect.CORO_CLOSED] * 2, "else Python warns of each"


def test_a_right_plugin_is_not_complained_about() -> None:
    class Right:
        @zw.hookimpl
        def on_primary_failure(self, request: zw.ChatRequest, failure: object, spare: int = 3) -> str | None:
            return None

        @zw.hookimpl
        def zwaif_started(self, host: zw.Host) -> None:
            return None

        @staticmethod
        @zw.hookimpl
        def fallback_answered(record: Any) -> None:
            return None

        def helper(self) -> None:
            return None

    assert lines_of(Right()) == []


@pytest.mark.parametrize("pieces", [None, 7, b"bytes", {"text": "x"}])
def test_an_answer_without_text_is_told(pieces: Any) -> None:
    scene = Scene(lambda: zw.Answer(pieces))
    assert scene.answer() is None
    (line,) = scene.lines
    assert "expected Answer.pieces to be text or pieces of text" in line and type(pieces).__name__ in line


def test_will_answer_is_true_false_or_none() -> None:
    class Says:
        what: Any = "yes"

        @zw.hookimpl
        def will_answer(self) -> Any:
            return self.what

    scene, says = Scene(lambda: None), Says()
    scene.manager.register(says, "says", guarded=True)
    assert not scene.manager.someone_will_answer(REQUEST, FAILURE)
    assert scene.lines == [
        "Plugin 'says' failed in will_answer, which is skipped for 30 s: expected True, False or None, got str"
    ]
    scene.clock.time += 30
    says.what = True
    assert scene.manager.someone_will_answer(REQUEST, FAILURE)


def test_a_hook_that_runs_once_is_not_said_to_be_skipped() -> None:
    class Starts:
        @zw.hookimpl
        def zwaif_started(self) -> None:
            raise KeyError("voice")

    scene = Scene(lambda: None)
    scene.manager.register(Starts(), "starts", guarded=True)
    scene.manager.hook.zwaif_started(host=None)
    assert scene.lines == ["Plugin 'starts' failed in zwaif_started: KeyError 'voice'"]


@pytest.mark.parametrize(("text", "on"), [("1", True), ("on", True), ("", False), ("0", False), (" Off", False)])
def test_the_trace_can_be_switched_off_in_words(text: str, on: bool) -> None:
    lines: list[str] = []
    manager = PluginManager(lambda line, error: lines.append(line), lambda name: text * name.endswith("TRACE_PLUGINS"))
    manager.register(Parrot(lambda: "Squawk!"), "parrot")
    manager.answer(REQUEST, FAILURE)
    assert bool(lines) is on


def test_each_line_of_the_trace_has_plugin_hook_time_and_result() -> None:
    """Also of hooks that only inform, which run in a thread of their own."""
    lines: list[str] = []
    clock = HandClock()
    manager = PluginManager(never_reported, lambda name: "1" * name.endswith("TRACE_PLUGINS"), clock, lines.append)

    def takes_two_milliseconds() -> str:
        clock.time += 0.002
        return "Squawk!"

    manager.register(Parrot(takes_two_milliseconds), "parrot", guarded=True)
    manager.register(Records(), "crow", guarded=True)
    manager.answer(REQUEST, FAILURE)
    manager.hook.fallback_answered(record=RECORD)
    for name in ("parrot", "crow"):
        guard = manager.guard_of(name, "fallback_answered")
        assert guard is not None and guard.catch_up(10)
    assert wait_until(lambda: len(lines) == 3)
    answered, *informed = lines
    assert answered == "[trace] parrot: on_primary_failure, 2.0 ms --> 'Squawk!' ()"
    (crow,) = (line for line in informed if line.startswith("[trace] crow: "))
    assert re.match(
        r"\[trace\] crow: fallback_answered, [0-9.]+ ms raised KeyError\('voice'\) \(record=AnswerRec", crow
    )
    assert "[trace] parrot: fallback_answered, 2.0 ms --> None ()" in informed


class Records:
    @zw.hookimpl
    def fallback_answered(self, record: zw.AnswerRecord) -> None:
        raise KeyError("voice")


def never_reported(line: str, error: BaseException | None) -> None:
    assert "KeyError 'voice'" in line, "the trace has a way of its own"


def test_the_trace_cuts_what_is_long_and_survives_a_repr_that_fails() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise ValueError("no")

    lines: list[str] = []
    function = traced(lambda *_: "x" * 9000, "odd", "zwaif_started", ("host",), lines.append, HandClock())
    assert function(Odd()) == "x" * 9000
    assert lines == [
        f"[trace] odd: zwaif_started, 0.0 ms --> '{'x' * (LONGEST - 1)} … (host=<Odd, whose repr raised ValueError>)"
    ]


def test_a_plugin_alone_is_not_said_to_be_before_others() -> None:
    assert Scene(lambda: None).manager.turns("on_primary_failure") == [("parrot", "the only one")]


# --- what commands and pages see -------------------------------------------------------------------------------------


def test_the_state_of_a_plugin_has_its_hooks_and_what_is_wrong() -> None:
    scene = Scene(lambda: "Squawk!")
    assert scene.manager.states()[0].hooks == ("on_primary_failure", "format_prompt", "fallback_answered")
    assert scene.manager.states()[0].state is State.ACTIVE
    scene.manager.register(Newer(), "newer")
    scene.manager.register(Forgot, "class")
    newer, parrot, broken = scene.manager.states()
    assert (parrot.name, newer.name, newer.state, newer.hooks) == ("parrot", "newer", State.BROKEN, ())
    assert (
        newer.why
        == newer.left_out[0]
        == "its on_primary_failure asks for 'mood', but that hook only has " + ("request, failure")
    )
    assert (broken.name, broken.state) == ("class", State.BROKEN) and "Forgot is a class" in broken.why


# --- the manual ------------------------------------------------------------------------------------------------------


def lines_of_the_manual() -> list[str]:
    """The lines that docs/plugins.md promises, without those that other rooms report."""
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    found = re.findall(r"\| `(Plugin 'parrot'[^`]*)`", page)
    return [line for line in found if "its setting" not in line and "its part of the Settings tab" not in line]


def lines_that_are_said(monkeypatch: pytest.MonkeyPatch, never: threading.Event) -> Iterator[str]:
    for plugin in (Forgot, Forgot(), Typed()):
        yield from lines_of(plugin)
    scene = Scene(raises(ValueError("no voice")))
    scene.answer()
    scene.clock.time += 30
    guard = scene.manager.guard_of("parrot")
    assert guard is not None
    guard.succeeded()
    guard.failed(ValueError("no voice"), "failed in the middle of its answer")
    guard.succeeded()
    guard.late("no text within 15 s")
    for hook in ("format_prompt", "fallback_answered"):
        monkeypatch.setitem(HOOKS, hook, HOOKS[hook]._replace(seconds=0.05))
    slow = Scene(never.wait)
    slow.prompt()
    slow.told()
    assert wait_until(lambda: len(slow.lines) == 2)
    yield from scene.lines
    yield from (line.replace("0.05 s", "2 s") for line in slow.lines)


def test_the_manual_has_the_lines_that_are_said(monkeypatch: pytest.MonkeyPatch, never: threading.Event) -> None:
    said = list(lines_that_are_said(monkeypatch, never))
    promised = lines_of_the_manual()
    assert len(promised) == 12
    others = ("could not be loaded", "leaves out", "failed in every(", "did not end its reply")  # said in other tests
    elsewhere = [line for line in promised if any(part in line for part in others)]
    missing = [line for line in promised if not any(one.startswith(line.removesuffix("…").rstrip()) for one in said)]
    assert missing == elsewhere


def test_one_line_names_the_plugins_of_others_that_work() -> None:
    scene = Scene(lambda: "Squawk!")
    assert scene.manager.line_of_the_healthy() == "Plugins: parrot"
    scene.manager.register(Newer(), "newer", guarded=True)
    scene.manager.register(Records(), "crow", guarded=True)
    assert scene.manager.line_of_the_healthy() == "Plugins: crow, parrot", "one with a fault has its own line"
    scene.manager.unregister("crow")
    scene.parrot.does = raises(KeyError("voice"))
    scene.answer()
    assert scene.manager.line_of_the_healthy() == "", "the only one left is paused"
