"""Whose turn it is: callers are served one after the other, and nobody waits for one who went away."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from zwaif_hooks.stream import CancelScope

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
"""How often a waiting caller looks whether the one before it went away."""
_WORTH_TELLING_SECONDS = 0.5


class Ticket:
    """One caller's turn. The holder calls ``pause`` before it hands out a piece and ``resume`` when it is back."""

    def __init__(self, turns: FairQueue) -> None:
        self._turns = turns
        self._paused_since: float | None = None
        self._stop_work: Callable[[], None] | None = None
        self.idle = False
        """For work that can wait: over as soon as anybody wants to speak."""
        self.evicted = False
        """The holder stayed away too long, or was only idling, and somebody else has the turn."""

    def pause(self, stop_work: Callable[[], None]) -> None:
        """Control leaves for the consumer. ``stop_work`` is called, from another thread, if it never comes back."""
        with self._turns.changed:
            self._stop_work = stop_work
            self._paused_since = self._turns.clock()

    def stop_with(self, stop_work: Callable[[], None]) -> None:
        """What ends this idle turn's work, from another thread; called at once where the turn is over already."""
        with self._turns.changed:
            self._stop_work = stop_work
            if self.evicted:
                stop_work()

    def interrupt(self) -> None:
        """Called with ``changed`` held."""
        self.evicted = True
        if self._stop_work is not None:
            self._stop_work()

    def resume(self) -> None:
        with self._turns.changed:
            self._paused_since = None

    def give_back(self) -> None:
        """Let the next one in. May be called twice, and from a finalizer."""
        self._turns.remove(self)

    def evict_if_away(self, now: float, limit: float) -> bool:
        """Called with ``changed`` held."""
        if self._paused_since is None or now - self._paused_since < limit or self._stop_work is None:
            return False
        self.evicted = True
        self._stop_work()
        return True


class FairQueue:
    """First come, first served.

    Args:
        abandoned_after: seconds after which a holder that paused has lost its turn.
        say: tells the user one line.
    """

    def __init__(
        self,
        abandoned_after: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        say: Callable[[str], None] = logger.debug,
    ) -> None:
        self._abandoned_after = abandoned_after
        self._say = say
        self.clock = clock
        # Re-entrant, because a forgotten iterator gives its turn back from the garbage collector, anywhere.
        self.changed = threading.Condition(threading.RLock())
        self._queue: deque[Ticket] = deque()

    def take(self, scope: CancelScope | None = None) -> Ticket:
        """Wait until all before are served, or until ``scope`` is cancelled, as nobody wants the turn any more."""
        scope = scope or CancelScope()
        turn, since = Ticket(self), self.clock()
        scope.on_cancel(self._look_again)
        with self.changed:
            self._end_idle_turn()
            self._queue.append(turn)
            try:
                while self._queue[0] is not turn and not scope.cancelled:
                    self._evict_holder()
                    if self._queue[0] is not turn:
                        self.changed.wait(_LOOK_SECONDS)
            except BaseException:
                self.remove(turn)
                raise
        waited = self.clock() - since
        if waited > _WORTH_TELLING_SECONDS and not scope.cancelled:
            self._say(f"Waited {waited:.1f} s for the local model: another reply was running")
        return turn

    def take_idle(self) -> Ticket | None:
        """A turn for work that can wait; None while somebody speaks. It ends when somebody wants to."""
        turn = Ticket(self)
        turn.idle = True
        with self.changed:
            if self._queue:
                return None
            self._queue.append(turn)
        return turn

    def _look_again(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _end_idle_turn(self) -> None:
        if self._queue and self._queue[0].idle:
            self._queue.popleft().interrupt()

    def remove(self, turn: Ticket) -> None:
        with self.changed:
            if turn in self._queue:
                self._queue.remove(turn)
                self.changed.notify_all()

    @property
    def waiting(self) -> int:
        """Callers in the queue, the holder not counted."""
        return max(0, len(self._queue) - 1)

    def _evict_holder(self) -> None:
        holder = self._queue[0]
        if holder.evict_if_away(self.clock(), self._abandoned_after):
            logger.debug("A reply was left unread for %.0f s; its generation was stopped.", self._abandoned_after)
            self.remove(holder)
