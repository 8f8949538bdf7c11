"""Reading a reply in a thread of our own: nothing blocks for ever, nothing is lost, nobody is left holding a socket."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from zwaif_hooks.background.clock import SystemClock
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.silence import FINISHED_SECONDS, FixedLimits
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError

WAIT = 10.0
PATIENT = FixedLimits(WAIT, WAIT)


class Clock:
    """The test says what time it is; a wait that nothing fulfils is over when whoever is waited for is ``silent``."""

    def __init__(self) -> None:
        self.time = 0.0
        self.silent = threading.Event()
        self.limits: list[float] = []

    def now(self) -> float:
        return self.time

    def real(self, seconds: float) -> float:
        return seconds

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        self.limits.append(timeout)
        if timeout <= 0:
            return predicate()
        while not condition.wait_for(predicate, 0.01):
            if self.silent.is_set():
                self.time += timeout
                return False
        return True


def pump_of(*chunks: Chunk | BaseException, clock: Clock | SystemClock | None = None) -> BackgroundReader:
    def source(_: CancelScope) -> Iterator[Chunk]:
        for chunk in chunks:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    pump = BackgroundReader(source, clock or SystemClock())
    pump.start()
    return pump


def everything(pump: BackgroundReader) -> str:
    text = ""
    while (chunk := pump.take(PATIENT)) is not None:
        text += chunk.text
    return text


def test_all_chunks_come_in_order_and_then_the_end() -> None:
    pump = pump_of(*(Chunk(str(n)) for n in range(200)))
    assert everything(pump) == "".join(map(str, range(200)))
    assert pump.take(PATIENT) is None


def test_the_native_object_is_handed_on() -> None:
    native = object()
    chunk = pump_of(Chunk("x", native)).take(PATIENT)
    assert chunk is not None and chunk.native is native


def test_what_was_read_before_the_failure_comes_first() -> None:
    error = PrimaryError(FailureKind.CUT, "cut")
    pump = pump_of(Chunk("a"), Chunk("b"), error)
    assert [pump.take(PATIENT), pump.take(PATIENT)] == [Chunk("a"), Chunk("b")]
    for _ in range(2):
        with pytest.raises(PrimaryError) as caught:
            pump.take(PATIENT)
        assert caught.value is error


def test_what_breaks_behind_a_finish_reason_breaks_nothing() -> None:
    assert everything(pump_of(Chunk("a"), Chunk("", reason="stop"), PrimaryError(FailureKind.CUT, "cut"))) == "a"


def test_text_behind_a_finish_reason_takes_it_back() -> None:
    pump = pump_of(Chunk("a", reason="stop"), Chunk("b"), PrimaryError(FailureKind.CUT, "cut"))
    with pytest.raises(PrimaryError):
        everything(pump)


def test_silence_behind_a_finish_reason_is_the_end() -> None:
    clock, done = Clock(), threading.Event()

    def held_open(_: CancelScope) -> Iterator[Chunk]:
        yield Chunk("a", reason="stop")
        clock.silent.set()
        done.wait(WAIT)

    pump = BackgroundReader(held_open, clock)
    pump.start()
    assert everything(pump) == "a"
    assert clock.limits[-1] == FINISHED_SECONDS
    done.set()


@pytest.mark.parametrize("error", [ValueError("bug"), SystemExit(1), MemoryError(), KeyboardInterrupt()])
def test_whatever_a_reader_dies_of_is_a_failure_of_the_primary(error: BaseException) -> None:
    with pytest.raises(PrimaryError) as caught:
        pump_of(error).take(PATIENT)
    assert caught.value.kind is FailureKind.UNKNOWN
    assert caught.value.original is error


def silent(started: threading.Event, ended: threading.Event) -> Callable[[CancelScope], Iterator[Chunk]]:
    """A source that gives what it is told and then hangs until its connection is closed."""

    def source(scope: CancelScope) -> Iterator[Chunk]:
        scope.on_cancel(ended.set)
        yield Chunk("")
        started.set()
        ended.wait(WAIT)

    return source


def test_no_text_within_the_limit() -> None:
    clock, ended = Clock(), threading.Event()
    pump = BackgroundReader(silent(clock.silent, ended), clock)
    pump.start()
    assert pump.take(FixedLimits(0.5, 0.1)) == Chunk("")
    with pytest.raises(PrimaryError, match=r"no text within 0\.5 s") as caught:
        pump.take(FixedLimits(0.5, 0.1))
    assert caught.value.kind is FailureKind.FIRST_TOKEN_TIMEOUT
    pump.abandon()
    assert ended.wait(WAIT)


def test_a_stop_in_the_middle_has_its_own_limit() -> None:
    clock, hang = Clock(), threading.Event()

    def source(scope: CancelScope) -> Iterator[Chunk]:
        scope.on_cancel(hang.set)
        yield Chunk("word")
        clock.silent.set()
        hang.wait(WAIT)

    pump = BackgroundReader(source, clock)
    pump.start()
    assert pump.take(FixedLimits(15.0, 0.3)) == Chunk("word")
    with pytest.raises(PrimaryError, match=r"stopped for 0\.3 s") as caught:
        pump.take(FixedLimits(15.0, 0.3))
    assert caught.value.kind is FailureKind.STALLED
    pump.abandon()


def test_chunks_without_text_do_not_move_the_deadline() -> None:
    clock = Clock()

    def source(scope: CancelScope) -> Iterator[Chunk]:
        for text in ("", " ", "\n"):
            clock.time += 4.0
            yield Chunk(text)

    pump = BackgroundReader(source, clock)
    pump._run()
    for _ in range(3):
        pump.take(FixedLimits(15.0, 10.0))
    assert not pump.silence.had_content
    assert clock.limits == []
    assert pump.silence._last == 0.0


def test_text_moves_the_deadline() -> None:
    clock = Clock()

    def source(scope: CancelScope) -> Iterator[Chunk]:
        clock.time = 12.0
        yield Chunk("word")

    pump = BackgroundReader(source, clock)
    pump._run()
    assert pump.silence.had_content
    assert pump.silence._last == 12.0


def test_giving_up_wakes_a_taker_in_another_thread() -> None:
    started, ended = threading.Event(), threading.Event()
    pump = BackgroundReader(silent(started, ended), SystemClock())
    pump.start()
    pump.take(PATIENT)
    got: list[Chunk | None] = []
    taker = threading.Thread(target=lambda: got.append(pump.take(PATIENT)))
    taker.start()
    assert started.wait(WAIT)
    pump.abandon()
    taker.join(WAIT)
    assert got == [None]


def test_an_abandoned_reader_stops_at_its_next_chunk() -> None:
    go_on, done = threading.Event(), threading.Event()
    read: list[int] = []

    def source(scope: CancelScope) -> Iterator[Chunk]:
        try:
            for number in range(1000):
                read.append(number)
                yield Chunk("x")
                go_on.wait(WAIT)
        finally:
            done.set()

    pump = BackgroundReader(source, SystemClock())
    pump.start()
    pump.take(PATIENT)
    pump.abandon()
    go_on.set()
    assert done.wait(WAIT)
    assert len(read) <= 2


def test_cancelling_calls_each_callback_once_and_late_ones_at_once() -> None:
    scope = CancelScope()
    called: list[str] = []
    scope.on_cancel(lambda: called.append("early"))
    scope.cancel()
    scope.cancel()
    assert called == ["early"]
    scope.on_cancel(lambda: called.append("late"))
    assert called == ["early", "late"]


def test_a_callback_that_fails_does_not_keep_the_next_from_running() -> None:
    scope = CancelScope()
    called: list[str] = []

    def complain() -> None:
        raise OSError("already gone")

    scope.on_cancel(complain)
    scope.on_cancel(lambda: called.append("second"))
    scope.cancel()
    assert called == ["second"]


def test_the_connection_is_closed_when_the_reply_is_complete() -> None:
    closed = threading.Event()

    def source(scope: CancelScope) -> Iterator[Chunk]:
        scope.on_cancel(closed.set)
        yield Chunk("x")

    pump = BackgroundReader(source, SystemClock())
    pump.start()
    assert everything(pump) == "x"
    assert closed.wait(WAIT)


class Rivalry:
    """A local answer that has nothing to say until it is stopped."""

    def __init__(self, late: PrimaryError) -> None:
        self.late = late
        self.lost = False
        self.waited_for, self.stopped = threading.Event(), threading.Event()
        self.has_won = False

    def is_lost(self) -> bool:
        return self.lost

    def wait(self) -> None:
        self.waited_for.set()
        assert self.stopped.wait(WAIT)

    def won(self) -> None:
        self.has_won = True


def racing(
    source: Callable[[CancelScope, Rivalry], Iterator[Chunk]],
) -> tuple[BackgroundReader, Callable[[], Chunk | None], Rivalry]:
    """A reply that is late at once; how it is taken; and its rivalry, made beforehand."""
    rivalry = Rivalry(PrimaryError(FailureKind.FIRST_TOKEN_TIMEOUT, "late"))
    pump = BackgroundReader(lambda scope: source(scope, rivalry), SystemClock())
    pump.start()
    return pump, lambda: pump.take(FixedLimits(0.0, WAIT), lambda _: rivalry), rivalry  # type: ignore[arg-type]


def test_giving_up_does_not_wait_for_a_local_answer() -> None:
    """The primary ended mute, and whoever waits, waits for the local answer."""
    begun = threading.Event()

    def mute(_: CancelScope, rivalry: Rivalry) -> Iterator[Chunk]:
        yield from ()
        begun.wait(WAIT)

    pump, take, rivalry = racing(mute)

    def waits() -> None:
        with pytest.raises(PrimaryError, match="late"):
            take()

    taker = threading.Thread(target=waits, daemon=True)
    taker.start()
    begun.set()
    assert rivalry.waited_for.wait(WAIT)
    giver_up = threading.Thread(target=pump.abandon, daemon=True)
    giver_up.start()
    giver_up.join(WAIT / 2)
    assert not giver_up.is_alive()
    rivalry.stopped.set()
    taker.join(WAIT)


@pytest.mark.parametrize("speaks", [True, False])
def test_a_race_is_looked_at_however_many_empty_chunks_come(speaks: bool) -> None:
    def busy(scope: CancelScope, rivalry: Rivalry) -> Iterator[Chunk]:
        for number in range(10_000):
            yield Chunk("word" if speaks and number == 20 else "")
            rivalry.lost = number > 10 and not speaks
            if scope.cancelled:
                return
            threading.Event().wait(0.001)

    pump, take, rivalry = racing(busy)
    said = ""
    if speaks:
        while not said:
            chunk = take()
            assert chunk is not None
            said += chunk.text
    else:
        rivalry.stopped.set()
        with pytest.raises(PrimaryError) as caught:
            while take() is not None:
                continue
        assert caught.value is rivalry.late
    assert rivalry.has_won is speaks
    pump.abandon()
