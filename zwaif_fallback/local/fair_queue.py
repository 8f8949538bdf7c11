"""One reply at a time: callers wait in a queue, and a holder that went away loses its place."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zwaif_hooks.stream import CancelScope

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 0.2
"""How often a waiting caller checks whether the holder went away."""
_WORTH_TELLING_SECONDS = 0.5


class Ticket:
    """One caller's place in the queue. Its holder calls ``pause`` before it hands out a piece, ``resume`` after it."""

    def __init__(self, queue: FairQueue, idle: bool = False) -> None:
        self._queue = queue
        self._paused_since: float | None = None
        self._stop_work: Callable[[], None] | None = None
        self.idle = idle
        """For work that can wait: it ends as soon as another caller comes."""
        self.evicted = False
        """The place was lost: the holder was away too long, or only idling."""

    def pause(self, stop_work: Callable[[], None]) -> None:
        """Control goes to the reader. If it does not come back, ``stop_work`` is called, from another thread."""
        with self._queue.changed:
            self._stop_work = stop_work
            self._paused_since = self._queue.clock()

    def resume(self) -> None:
        with self._queue.changed:
            self._paused_since = None

    def stop_with(self, stop_work: Callable[[], None]) -> None:
        """Set what ends idle work, from another thread; called at once if the place is lost already."""
        with self._queue.changed:
            self._stop_work = stop_work
            if self.evicted:
                stop_work()

    def give_back(self) -> None:
        """Let the next caller in. May be called twice, and from a finalizer."""
        self._queue.remove(self)

    def evict(self) -> None:
        """Called with ``changed`` held."""
        self.evicted = True
        if self._stop_work is not None:
            self._stop_work()

    def is_away(self, now: float, limit: float) -> bool:
        """Whether the holder has been paused for ``limit`` seconds. Called with ``changed`` held."""
        return self._paused_since is not None and now - self._paused_since >= limit


class FairQueue:
    """First come, first served.

    Args:
        abandoned_after: seconds after which a paused holder loses its place if somebody waits.
        say: prints one line for the user.
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
        # Re-entrant: the garbage collector may give back the ticket of a dropped iterator anywhere.
        self.changed = threading.Condition(threading.RLock())
        self._tickets: deque[Ticket] = deque()

    def take(self, scope: CancelScope | None = None) -> Ticket:
        """Wait until all callers before are served, or until ``scope`` is cancelled."""
        scope = scope or CancelScope()
        ticket, since = Ticket(self), self.clock()
        scope.on_cancel(self._look_again)
        with self.changed:
            self._end_idle_work()
            self._tickets.append(ticket)
            try:
                while self._tickets[0] is not ticket and not scope.cancelled:
                    self._evict_absent_holder()
                    if self._tickets[0] is not ticket:
                        self.changed.wait(_LOOK_SECONDS)
            except BaseException:
                self.remove(ticket)
                raise
        waited = self.clock() - since
        if waited > _WORTH_TELLING_SECONDS and not scope.cancelled:
            self._say(f"Waited {waited:.1f} s for the local model: another reply was running")
        return ticket

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold a place, once it is reached, for as long as the block runs."""
        ticket = self.take()
        try:
            yield
        finally:
            ticket.give_back()

    def take_idle(self) -> Ticket | None:
        """Return a ticket for work that can wait; None while a reply runs."""
        ticket = Ticket(self, idle=True)
        with self.changed:
            if self._tickets:
                return None
            self._tickets.append(ticket)
        return ticket

    def remove(self, ticket: Ticket) -> None:
        with self.changed:
            if ticket in self._tickets:
                self._tickets.remove(ticket)
                self.changed.notify_all()

    def _look_again(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def _end_idle_work(self) -> None:
        if self._tickets and self._tickets[0].idle:
            self._tickets.popleft().evict()

    def _evict_absent_holder(self) -> None:
        holder = self._tickets[0]
        if holder.is_away(self.clock(), self._abandoned_after):
            holder.evict()
            logger.debug("A reply was not read for %.0f s; its generation was stopped.", self._abandoned_after)
            self.remove(holder)
