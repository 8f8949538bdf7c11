"""Reading a reply in the thread that waits for it: deadlines are about text, and whoever is away misses nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from zwaif_hooks.background.clock import SystemClock
from zwaif_hooks.background.deferred import deferred
from zwaif_hooks.failover.reader import ReplyReader
from zwaif_hooks.failover.silence import FINISHED_SECONDS, FixedLimits
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError

WAIT = 10.0
FIRST, STALL = 15.0, 10.0
LIMITS = FixedLimits(FIRST, STALL)


class Clock(SystemClock):
    """The test says what time it is; nobody waits longer than it takes."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time


class Talk:
    """What a source does: pieces of text, and silence or comments that last."""

    def __init__(self, scope: CancelScope, clock: Clock) -> None:
        self._clock = clock
        self.scope = scope

    def silence(self, seconds: float) -> None:
        self.scope.before_read()
        for _ in range(10):
            self._clock.time += seconds / 10
            self.scope.after_empty_wait()

    def comments(self, seconds: float) -> None:
        for _ in range(10):
            self.scope.before_read()
            self._clock.time += seconds / 10

    def bytes_are_there(self) -> None:
        self.scope.before_read()


Script = Callable[[Talk], Iterator[Chunk]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def reading_of(script: Script, clock: Clock, here: bool = True) -> ReplyReader:
    return ReplyReader(lambda scope: script(Talk(scope, clock)), clock, here)


def take(reading: ReplyReader) -> str | None:
    chunk = reading.take(LIMITS)
    return None if chunk is None else chunk.text


def fails(reading: ReplyReader) -> FailureKind:
    with pytest.raises(PrimaryError) as caught:
        reading.take(LIMITS)
    return caught.value.kind


def test_everything_in_order_and_then_the_end_as_often_as_asked(clock: Clock) -> None:
    reading = reading_of(lambda talk: iter([Chunk("a"), Chunk(""), Chunk("b", reason="stop")]), clock)
    assert [take(reading) for _ in range(5)] == ["a", "", "b", None, None]


def test_it_runs_in_the_thread_that_waits(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    put_off: list[Callable[[], None]] = []
    monkeypatch.setattr(deferred, "defer", put_off.append)  # the machine may take this thread away for longer

    def script(talk: Talk) -> Iterator[Chunk]:
        threads.append(threading.get_ident())
        yield Chunk("a")
        threads.append(threading.get_ident())

    reading = reading_of(script, clock)
    reading.start()
    assert [take(reading), take(reading)] == ["a", None]
    for begin in put_off:
        begin()
    assert threads == [threading.get_ident()] * 2


def test_what_is_begun_in_another_thread_is_gone_on_with_in_this_one(clock: Clock) -> None:
    threads: list[int] = []

    def script(talk: Talk) -> Iterator[Chunk]:
        threads.append(threading.get_ident())
        yield Chunk("")
        clock.time += 3
        yield Chunk("a")
        threads.append(threading.get_ident())
        yield Chunk("b")

    reading = reading_of(script, clock, here=False)
    reading.start()
    assert [take(reading) for _ in range(4)] == ["", "a", "b", None]
    assert threads[0] != threading.get_ident() == threads[1]
    assert reading.silence.spoke_at == 1003.0


def test_what_was_read_ahead_comes_before_its_failure(clock: Clock) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("")
        raise PrimaryError(FailureKind.CUT, "cut")

    reading = reading_of(script, clock, here=False)
    assert take(reading) == ""
    assert [fails(reading), fails(reading)] == [FailureKind.CUT] * 2


def test_silence_before_the_first_text(clock: Clock) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        talk.silence(FIRST - 1)
        yield Chunk("")
        talk.silence(1.1)
        yield Chunk("too late")

    reading = reading_of(script, clock)
    assert take(reading) == ""
    assert fails(reading) is FailureKind.FIRST_TOKEN_TIMEOUT


def test_a_stop_in_the_middle_is_counted_from_the_last_text(clock: Clock) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        for _ in range(5):
            talk.silence(STALL - 1)
            yield Chunk("word")
        talk.silence(STALL - 1)
        yield Chunk("\n")
        talk.silence(1.1)
        yield Chunk("too late")

    reading = reading_of(script, clock)
    assert [take(reading) for _ in range(6)] == ["word"] * 5 + ["\n"]
    assert fails(reading) is FailureKind.STALLED


@pytest.mark.parametrize("begun", [False, True], ids=["before the first text", "in the middle"])
def test_comments_are_no_text_however_many_come(clock: Clock, begun: bool) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        if begun:
            yield Chunk("word")
        while clock.time < 5000:
            talk.comments(1)
        yield Chunk("too late")

    reading = reading_of(script, clock)
    if begun:
        assert take(reading) == "word"
    assert fails(reading) is (FailureKind.STALLED if begun else FailureKind.FIRST_TOKEN_TIMEOUT)
    assert clock.time <= 1000 + FIRST + 1


def test_empty_chunks_are_no_text_however_many_come(clock: Clock) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("word")
        while clock.time < 5000:
            talk.comments(0.05)
            yield Chunk("")

    reading = reading_of(script, clock)
    assert take(reading) == "word"
    with pytest.raises(PrimaryError) as caught:
        while reading.take(LIMITS) is not None:
            continue
    assert caught.value.kind is FailureKind.STALLED
    assert clock.time == pytest.approx(1000 + STALL, abs=0.2)


def test_who_was_away_for_long_still_gets_what_came_meanwhile(clock: Clock) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("One.")
        talk.bytes_are_there()
        talk.bytes_are_there()
        yield Chunk("Two.")
        talk.silence(STALL - 1)
        yield Chunk("Three.")

    reading = reading_of(script, clock)
    assert take(reading) == "One."
    clock.time += 600
    assert [take(reading), take(reading), take(reading)] == ["Two.", "Three.", None]


def test_a_server_that_died_while_nobody_read_is_noticed_at_once(clock: Clock) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("One.")
        talk.silence(0.1)
        yield Chunk("never")

    reading = reading_of(script, clock)
    assert take(reading) == "One."
    clock.time += 600
    assert fails(reading) is FailureKind.STALLED


@pytest.mark.parametrize("more", [False, True], ids=["nothing more", "text all the same"])
def test_silence_behind_a_finish_reason_is_the_end(clock: Clock, more: bool) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("a", reason="stop")
        talk.silence(FINISHED_SECONDS * (0.5 if more else 1.1))
        yield Chunk("b")
        raise PrimaryError(FailureKind.CUT, "cut")

    reading = reading_of(script, clock)
    assert take(reading) == "a"
    if more:
        assert take(reading) == "b"
        assert fails(reading) is FailureKind.CUT
    else:
        assert take(reading) is None


def test_a_finish_reason_on_every_piece_ends_nothing(clock: Clock) -> None:
    """Once text came behind one, it says nothing about the end, and a pause may last as long as any other."""

    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("a", reason="stop")
        talk.silence(3.0)
        yield Chunk("b", reason="stop")
        talk.silence(STALL * 0.9)
        yield Chunk("c", reason="stop")
        talk.silence(STALL * 1.1)
        yield Chunk("d")

    reading = reading_of(script, clock)
    assert [take(reading) for _ in range(4)] == ["a", "b", "c", None]


class Rivalry:
    def __init__(self, late: PrimaryError) -> None:
        self.late = late
        self.lost = False
        self.calls: list[str] = []

    def is_lost(self) -> bool:
        return self.lost

    def wait(self) -> None:
        self.calls.append("wait")

    def won(self) -> None:
        self.calls.append("won")


@pytest.mark.parametrize("here", [True, False], ids=["here", "in another thread"])
@pytest.mark.parametrize("end", ["speaks", "is overtaken", "fails", "is blank"])
def test_a_late_primary_runs_a_race(clock: Clock, here: bool, end: str) -> None:
    rivalries: list[Rivalry] = []
    begun = threading.Event()

    def late(error: PrimaryError) -> Rivalry:
        rivalries.append(Rivalry(error))
        begun.set()
        return rivalries[0]

    def script(talk: Talk) -> Iterator[Chunk]:
        clock.time += FIRST + 1
        if here:
            talk.silence(1.0)
        assert begun.wait(WAIT)
        rivalries[0].lost = end == "is overtaken"
        while rivalries[0].lost and not talk.scope.cancelled:
            talk.silence(0.1)
            threading.Event().wait(0.001)
        if end == "fails":
            raise PrimaryError(FailureKind.CUT, "cut")
        if end == "speaks":
            yield Chunk("late")

    reading = reading_of(script, clock, here)
    if end == "speaks":
        assert reading.take(LIMITS, late) == Chunk("late")
        assert rivalries[0].calls == ["won"]
    else:
        with pytest.raises(PrimaryError) as caught:
            reading.take(LIMITS, late)
        assert caught.value is rivalries[0].late
        assert rivalries[0].calls == ["wait"]
        reading.abandon()
    assert len(rivalries) == 1
    assert rivalries[0].late.kind is FailureKind.FIRST_TOKEN_TIMEOUT


def test_giving_up_from_another_thread_ends_a_read(clock: Clock) -> None:
    reads, closed = threading.Event(), threading.Event()

    def script(talk: Talk) -> Iterator[Chunk]:
        try:
            yield Chunk("a")
            while True:
                talk.silence(0.0)
                reads.set()
        finally:
            closed.set()

    reading = reading_of(script, clock)
    got: list[str | None] = []
    reader = threading.Thread(target=lambda: got.extend([take(reading), take(reading)]))
    reader.start()
    assert reads.wait(WAIT)
    reading.abandon()
    reader.join(WAIT)
    assert got == ["a", None]
    assert closed.is_set()


def test_what_nobody_came_for_is_never_asked(clock: Clock) -> None:
    asked: list[str] = []

    def script(talk: Talk) -> Iterator[Chunk]:
        asked.append("asked")
        yield Chunk("a")

    reading = reading_of(script, clock)
    reading.abandon()
    reading.start()
    assert take(reading) is None
    assert asked == []


def test_giving_up_between_two_chunks_lets_the_source_clean_up(clock: Clock) -> None:
    closed: list[str] = []

    def script(talk: Talk) -> Iterator[Chunk]:
        talk.scope.on_cancel(lambda: closed.append("socket"))
        try:
            yield Chunk("a")
        finally:
            closed.append("source")

    reading = reading_of(script, clock)
    assert take(reading) == "a"
    reading.abandon()
    assert closed == ["socket", "source"]
    assert take(reading) is None


def test_the_hosts_own_interruption_is_no_failure_of_the_primary(clock: Clock) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("a")
        raise KeyboardInterrupt

    reading = reading_of(script, clock)
    assert take(reading) == "a"
    with pytest.raises(KeyboardInterrupt):
        take(reading)


def test_a_bug_in_a_source_is_a_failure_of_the_primary(clock: Clock) -> None:
    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("a")
        raise ValueError("bug")

    reading = reading_of(script, clock)
    assert take(reading) == "a"
    assert fails(reading) is FailureKind.UNKNOWN


@pytest.mark.parametrize("here", [True, False], ids=["here", "in another thread"])
def test_half_of_the_silence_that_may_be_is_told_once(clock: Clock, here: bool) -> None:
    told: list[float] = []
    heard = threading.Event()

    def tell() -> None:
        told.append(clock.time - 1000.0)
        heard.set()

    def script(talk: Talk) -> Iterator[Chunk]:
        talk.silence(FIRST / 2 - 1)
        talk.silence(2.0)
        assert here or heard.wait(WAIT)
        talk.silence(3.0)
        yield Chunk("a")
        talk.silence(STALL - 1)
        yield Chunk("b")

    reading = reading_of(script, clock, here)
    reading.silence.on_unusual = tell
    if not here:
        reading.start()
    assert [take(reading) for _ in range(3)] == ["a", "b", None]
    assert len(told) == 1
    assert FIRST / 2 <= told[0] <= FIRST / 2 + 1.3


def test_half_of_a_pause_is_told_too_also_beside_comments(clock: Clock) -> None:
    told: list[float] = []

    def script(talk: Talk) -> Iterator[Chunk]:
        talk.silence(FIRST / 2 - 1)
        yield Chunk("a")
        talk.comments(STALL - 1)
        yield Chunk("b", reason="stop")
        talk.silence(FINISHED_SECONDS - 1)

    reading = reading_of(script, clock)
    reading.silence.on_unusual = lambda: told.append(clock.time)
    assert take(reading) == "a"
    assert told == []
    assert [take(reading), take(reading)] == ["b", None]
    assert len(told) == 1


def test_what_keeps_the_connection_open_behind_its_end_is_not_late(clock: Clock) -> None:
    told: list[float] = []

    def script(talk: Talk) -> Iterator[Chunk]:
        yield Chunk("a", reason="stop")
        talk.silence(FINISHED_SECONDS - 0.1)

    reading = reading_of(script, clock)
    reading.silence.on_unusual = lambda: told.append(clock.time)
    assert [take(reading), take(reading)] == ["a", None]
    assert told == []


@pytest.mark.parametrize("here", [True, False], ids=["here", "in another thread"])
def test_a_silence_that_is_usual_is_not_told(clock: Clock, here: bool) -> None:
    told: list[float] = []
    release = threading.Event()

    def script(talk: Talk) -> Iterator[Chunk]:
        talk.silence(FIRST - 1)
        assert here or not release.wait(0.1)
        yield Chunk("a")
        talk.silence(STALL - 1)
        yield Chunk("b")

    reading = reading_of(script, clock, here)
    reading.silence.on_unusual = lambda: told.append(clock.time)
    reading.silence.unusual_after = lambda had_content: STALL - 2 if had_content else FIRST - 0.5
    assert take(reading) == "a"
    assert told == []
    assert [take(reading), take(reading)] == ["b", None]
    assert len(told) == 1
