"""Deadlines that are learned from what a primary needed before."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zwaif_hooks.background.clock import SystemClock
from zwaif_hooks.failover.deadlines import (
    COLD_AFTER,
    ENOUGH_REPLIES,
    FEWEST_PIECES,
    SHORTEST_PAUSE,
    SHORTEST_WAIT,
    FirstTokenHistory,
    PauseHistory,
)
from zwaif_hooks.failover.end_history import FEWEST_UNMARKED, EndHistory
from zwaif_hooks.failover.reader import ReplyReader
from zwaif_hooks.failover.silence import FixedLimits
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, UnmarkedEnd

SETTING = 15.0


class StillClock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        raise AssertionError("nothing here waits")

    def real(self, seconds: float) -> float:
        return seconds


def history(*seen: tuple[int, float]) -> tuple[FirstTokenHistory, StillClock]:
    clock = StillClock()
    made = FirstTokenHistory(clock)
    for chars, seconds in seen:
        made.observe(chars, seconds)
    return made, clock


def test_before_the_first_reply_the_setting_counts() -> None:
    made, _ = history()
    assert made.deadline(1000, SETTING) == SETTING


@pytest.mark.parametrize(("replies", "seconds"), [(1, 15.0), (2, 7.5), (3, 5.0), (5, 3.0), (20, 3.0)])
def test_the_more_replies_were_quick_the_sooner_silence_is_late(replies: int, seconds: float) -> None:
    made, _ = history(*[(1000, 0.2)] * replies)
    assert made.deadline(1000, 60.0) == seconds


@given(seen=st.lists(st.floats(0.001, 120.0), min_size=1, max_size=64), missed=st.integers(0, 3))
def test_no_server_is_late_before_four_times_its_slowest(seen: list[float], missed: int) -> None:
    made, _ = history(*[(1000, seconds) for seconds in seen])
    for _ in range(missed):
        made.missed()
    assert made.deadline(1000, SETTING) >= min(SETTING, 4 * max(seen))
    assert made.deadline(1000, SETTING) <= SETTING


def test_a_server_that_has_become_slower_is_given_longer_each_time_until_it_is_heard() -> None:
    """Its user has loaded a larger model, and the local answer is quick: the first word never comes in time."""
    made, _ = history(*[(1000, 0.2)] * ENOUGH_REPLIES)
    deadlines = []
    while made.deadline(1000, SETTING) < 10.0:
        deadlines.append(made.deadline(1000, SETTING))
        made.missed()
    assert deadlines == [3.0, 6.0]
    made.observe(1000, 10.0)
    assert made.deadline(1000, SETTING) == SETTING


def test_a_server_that_only_hung_is_given_no_longer_afterwards() -> None:
    made, _ = history(*[(1000, 0.2)] * ENOUGH_REPLIES)
    made.missed()
    made.observe(1000, 0.2)
    assert made.deadline(1000, SETTING) == SHORTEST_WAIT


def test_a_quick_server_is_given_less() -> None:
    made, _ = history(*[(1000, 0.1)] * ENOUGH_REPLIES)
    assert made.deadline(1000, SETTING) == SHORTEST_WAIT


def test_a_longer_prompt_is_given_longer() -> None:
    made, _ = history(*[(1000, 1.0)] * ENOUGH_REPLIES)
    assert made.deadline(1000, SETTING) == 4.0
    assert made.deadline(2000, SETTING) == 8.0
    assert made.deadline(500, SETTING) == 4.0


def test_never_more_than_the_setting() -> None:
    made, _ = history(*[(1000, 30.0)] * ENOUGH_REPLIES)
    assert made.deadline(1000, SETTING) == SETTING


def test_after_a_long_pause_the_model_may_have_to_be_loaded_again() -> None:
    made, clock = history(*[(1000, 0.1)] * ENOUGH_REPLIES)
    clock.time += COLD_AFTER + 1
    assert made.deadline(1000, SETTING) == SETTING


def test_slow_but_living_replies_are_hardly_ever_suspected() -> None:
    """10,000 first tokens of a server with a long-tailed delay and growing prompts: at most one in a thousand."""
    rng = random.Random(7)
    made, clock = history()
    suspected = 0
    chars = 500
    for _ in range(10_000):
        chars = 500 if chars > 12_000 else chars + 200
        seconds = 0.2 + chars / 4000 * rng.lognormvariate(0.0, 0.35)
        clock.time += 20
        suspected += seconds > made.deadline(chars, SETTING)
        made.observe(chars, seconds)
    assert suspected <= 10


# --- pauses in the middle of a reply --------------------------------------------------------------------------------


def pauses(*seen: float) -> PauseHistory:
    made = PauseHistory()
    for longest in seen:
        made.observe(longest, FEWEST_PIECES)
    return made


def test_the_setting_counts_until_pauses_were_seen() -> None:
    assert pauses().deadline(SETTING) == SETTING
    assert pauses(0.1).deadline(60.0) == 5 * SHORTEST_PAUSE


def test_a_fluent_server_is_given_less_but_never_less_than_a_few_seconds() -> None:
    assert pauses(*[0.1] * ENOUGH_REPLIES).deadline(SETTING) == SHORTEST_PAUSE


def test_a_slow_server_is_given_what_it_needs_up_to_the_setting() -> None:
    assert pauses(*[0.1] * ENOUGH_REPLIES, 1.0).deadline(SETTING) == 8.0
    assert pauses(*[0.1] * ENOUGH_REPLIES, 5.0).deadline(SETTING) == SETTING


def test_a_reply_in_few_pieces_teaches_nothing_about_pauses() -> None:
    made = PauseHistory()
    for _ in range(100):
        made.observe(0.0, FEWEST_PIECES - 1)
    assert made.deadline(SETTING) == SETTING


STALL_SETTING = 10.0
REPLIES = 10_000
PIECES = (12, 30)


class Server:
    """One that is slow but alive: its own pace, pauses with a long tail, and now and then something holds it up."""

    def __init__(self, pace: float, held_up_for: float, rng: random.Random) -> None:
        self._pace = pace
        self._held_up_for = held_up_for
        self._rng = rng

    def first(self, chars: int) -> float:
        return 0.2 + chars / 4000 * self._rng.lognormvariate(0.0, 0.35)

    def pause(self) -> float:
        held_up = self._rng.expovariate(1 / self._held_up_for) if self._rng.random() < 0.002 else 0.0
        return min(0.95 * STALL_SETTING, self._pace * self._rng.lognormvariate(0.0, 0.6) + held_up)


class MovingClock(SystemClock):
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time


def replay(server: Server, clock: MovingClock, scope: CancelScope, first: float, pieces: int) -> Iterator[Chunk]:
    for number in range(pieces):
        scope.before_read()
        clock.time += server.pause() if number else first
        scope.after_empty_wait()
        yield Chunk("word ")


@pytest.mark.parametrize(
    ("pace", "held_up_for"), [(0.03, 0.6), (0.3, 1.0), (1.5, 1.0)], ids=["quick", "slow", "very slow"]
)
def test_slow_replies_that_live_are_hardly_ever_taken_over(pace: float, held_up_for: float) -> None:
    """10,000 replies, read as they are read in Z-Waif, on a clock that the server moves."""
    rng = random.Random(11)
    clock = MovingClock()
    server = Server(pace, held_up_for, rng)
    first_token, history = FirstTokenHistory(clock), PauseHistory()
    taken_over = 0
    chars = 500
    for _ in range(REPLIES):
        chars = 500 if chars > 12_000 else chars + 200
        first, pieces = server.first(chars), rng.randint(*PIECES)
        source = partial(replay, server, clock, first=first, pieces=pieces)
        began = clock.time
        reading = ReplyReader(source, clock)
        limits = FixedLimits(first_token.deadline(chars, SETTING), history.deadline(STALL_SETTING))
        try:
            while reading.take(limits) is not None:
                continue
        except PrimaryError:
            taken_over += 1
            continue
        first_token.observe(chars, reading.silence.spoke_at - began)
        history.observe(reading.silence.longest_pause, pieces)
        clock.time += 20
    assert taken_over <= REPLIES / 1000


# --- how a server's replies end ---------------------------------------------------------------------------------------

TORN = "and then we went to the"


def unmarked(knows_marks: bool = True, is_framed: bool = True) -> UnmarkedEnd:
    end = UnmarkedEnd(knows_marks)
    end.is_framed = is_framed
    return end


def broken() -> bool:
    """The neutral question ends without a mark, too, or fails."""
    return False


def test_a_server_with_no_place_for_a_mark_ends_its_replies_with_its_answers() -> None:
    assert EndHistory().is_whole(TORN, unmarked(knows_marks=False), broken)
    assert EndHistory().is_whole(TORN, unmarked(knows_marks=False, is_framed=False), broken)
    assert not EndHistory().is_whole(" ", unmarked(knows_marks=False), broken)


def test_a_server_that_gave_a_mark_is_held_to_it() -> None:
    ends = EndHistory()
    ends.observe("stop")
    for _ in range(2 * FEWEST_UNMARKED):
        assert not ends.is_whole(TORN, unmarked(knows_marks=False), broken)


def test_a_whole_sentence_needs_no_mark_and_of_a_server_that_is_well_tells_of_the_next_replies() -> None:
    ends = EndHistory()
    assert not ends.is_whole("That is all.", unmarked(is_framed=False), broken), "the connection may have been cut"
    assert ends.is_whole("That is all.", unmarked(), broken)
    assert not ends.is_whole(TORN, unmarked(), broken), "nothing is known of it"
    ends.observe("stop")
    assert ends.is_whole("That is all.", unmarked(), broken)
    assert ends.is_whole(TORN, unmarked(), broken)
    ends.failed(ConnectionError())
    assert not ends.is_whole(TORN, unmarked(), broken)


def test_a_server_that_never_gave_a_mark_is_believed_after_some_replies() -> None:
    ends = EndHistory()
    for _ in range(FEWEST_UNMARKED):
        end = unmarked()
        assert not ends.is_whole(TORN, end, broken)
        ends.failed(end)
    assert ends.is_whole(TORN, unmarked(), broken)


def test_other_failures_between_them_say_that_it_is_broken() -> None:
    ends = EndHistory()
    for _ in range(3 * FEWEST_UNMARKED):
        assert not ends.is_whole(TORN, unmarked(), broken)
        ends.failed(ConnectionError())


def test_a_server_that_marks_the_answer_to_a_neutral_question_is_believed_until_it_fails_otherwise() -> None:
    asked: list[bool] = []

    def alive() -> bool:
        asked.append(True)
        return True

    ends = EndHistory()
    assert ends.is_whole(TORN, unmarked(), alive)
    assert ends.is_whole(TORN, unmarked(), alive) and len(asked) == 1
    ends.failed(ConnectionError())
    assert ends.is_whole(TORN, unmarked(), alive) and len(asked) == 2
    ends.failed(ConnectionError())
    assert not ends.is_whole(TORN, unmarked(is_framed=False), alive) and len(asked) == 2, "its connection broke"


def test_what_is_usual_is_the_slowest_of_the_recent_replies_and_unknown_after_a_rest() -> None:
    clock = StillClock()
    history = FirstTokenHistory(clock)
    assert history.usual(100) == math.inf
    history.observe(100, 0.4)
    history.observe(100, 0.2)
    assert history.usual(100) == 0.4
    assert history.usual(1000) == pytest.approx(4.0)
    clock.time += COLD_AFTER + 1
    assert history.usual(100) == math.inf
    pauses = PauseHistory()
    assert pauses.usual() == math.inf
    pauses.observe(0.3, FEWEST_PIECES)
    pauses.observe(0.1, FEWEST_PIECES)
    assert pauses.usual() == 0.3
