"""Every hook, in the order in which a plugin sees them from the host's start to the end of an outage."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.fault_server import HALF
from tests.helpers.hook_recorder import CALLS, SLOW, STORY
from tests.helpers.stage import WATCH, Stage
from tests.helpers.waiting import wait_until
from zwaif_hooks import specs
from zwaif_hooks.failover.takeover import MEANWHILE
from zwaif_hooks.testing.fault_talk import WORDS, Talk

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
RECORDER = {"hook_recorder": "hook_recorder:recorder"}
WAIT = 60.0
OF_EACH_TURN = ("before_request", "sentence_spoken", "turn_finished")
"""Called for every turn, in this order among themselves, but in no fixed order with the others."""
ASKED = ("will_answer", "register_engines", "prompt_format", "format_prompt")
"""Asked in background threads: whenever a model might be loaded ahead of time, models are listed, or a prompt is read
ahead."""


class Calls:
    """What the recorder has written so far."""

    def __init__(self, tree: Path) -> None:
        self._file = tree / CALLS

    def __call__(self) -> list[str]:
        """Those with a fixed order."""
        return [call for call in self._all() if not call.startswith((*OF_EACH_TURN, *ASKED))]

    def of_each_turn(self) -> list[str]:
        """The calls of ``OF_EACH_TURN``, each run of equal ones once."""
        found = [call for call in self._all() if call.startswith(OF_EACH_TURN)]
        return [call for call, _ in itertools.groupby(found)]

    def _all(self) -> list[str]:
        return self._file.read_text(encoding="utf-8").splitlines() if self._file.exists() else []

    def reached(self, number: int) -> list[str]:
        """The calls, as soon as there are so many."""
        wait_until(lambda: len(self()) >= number)
        return self()

    def have(self, hook: str) -> bool:
        return any(call.startswith(hook) for call in self._all())


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    pytest.importorskip("torch")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    limits = {"API_FALLBACK_FIRST_TOKEN_TIMEOUT": "8", "API_FALLBACK_SILENCE_LIMIT": "8"}
    made = Stage(tmp_path, "Oobabooga", WATCH | RECORDER, port, **limits)
    yield made
    made.close()


def test_hooks_are_called_in_this_order(stage: Stage) -> None:
    calls = Calls(stage.tree)

    def reply(words: list[str]) -> Callable[[Talk], None]:
        def play(talk: Talk) -> None:
            talk.open_stream()
            talk.say(words)
            talk.complete()

        return play

    def dies(talk: Talk) -> None:
        """It cuts the reply, and is gone when asked the neutral question; by then a plugin was asked to go on."""
        stage.server.play = gone  # type: ignore[method-assign]
        talk.open_stream()
        talk.say(WORDS[:4])
        talk.reset()

    def gone(talk: Talk) -> None:
        wait_until(lambda: calls.have("on_primary_failure"))
        stage.server.stop()

    def late(talk: Talk) -> None:
        wait_until(lambda: calls.have("primary_late"))
        reply(["Sorry, ", "I was ", "thinking."])(talk)

    starting = {"register_settings", "zwaif_started"} | (
        {"register_settings_ui"} if importlib.util.find_spec("gradio") else set()
    )
    stage.do(fresh=True)
    expected = calls.reached(len(starting))  # the others in either order, as two threads begin
    assert set(expected) == starting and expected[0] == "register_settings"
    wait_until(lambda: "Fallback ready" in stage.log.read_text(encoding="utf-8", errors="replace"))

    def say(message: str, *more: str, meanwhile: tuple[str, ...] = ()) -> None:
        """``more`` is called in this order, then ``meanwhile`` in any: some run in the plugin's own thread."""
        assert stage.do(say=message)["error"] == ""
        before = len(expected) + len(more)
        reached = calls.reached(before + len(meanwhile))
        assert reached[:before] == [*expected, *more]
        assert sorted(reached[before:]) == sorted(meanwhile)
        wait_until(lambda: calls.of_each_turn()[-1].startswith("turn_finished"))  # told in the background
        expected[:] = reached

    stage.server.play = reply(["Hello, ", "you."])  # type: ignore[method-assign]
    say("Hello.", "primary_answered: Hello, you.")

    stage.server.play = dies  # type: ignore[method-assign]
    takeover = ("fallback_answered: fallback",)
    say(STORY, f"on_primary_failure: cut after {HALF!r}", meanwhile=("primary_failed: cut", *takeover))
    say(SLOW, "on_primary_failure: circuit open after ''", "say_while_waiting", meanwhile=takeover)

    expected.append("primary_recovered")
    stage.is_well_again()
    assert calls.reached(len(expected)) == expected

    stage.server.play = late  # type: ignore[method-assign]
    say("Are you there?", "primary_late: after ''", "primary_answered: Sorry, I was thinking.")

    turn = ("before_request", "sentence_spoken: primary", "turn_finished: primary")
    taken_over = ("before_request", "sentence_spoken: fallback", "turn_finished: another")
    waited = ("before_request", f"sentence_spoken: {MEANWHILE}", *taken_over[1:])
    wait_until(lambda: len(calls.of_each_turn()) >= 13)
    assert calls.of_each_turn() == [*turn, *taken_over, *waited, *turn]
    assert all(calls.have(hook) for hook in ASKED)

    stage.close()
    expected.append("zwaif_stopping")
    assert calls.reached(len(expected)) == expected

    hooks = {name for name, spec in inspect.getmembers(specs) if hasattr(spec, f"{specs.PROJECT}_spec")}
    fixed = {call.partition(":")[0] for call in expected} | {"register_settings_ui"}
    assert {*fixed, *OF_EACH_TURN, *ASKED} == hooks
