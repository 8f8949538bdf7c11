"""A race between a late primary and a local answer: whoever has text first is heard."""

from __future__ import annotations

from collections.abc import Callable

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.messages import PrimaryFailure
from zwaif_hooks.stream import PrimaryError


class Race:
    """A server that is silent before its first word may only be loading its model, so it is still listened to.

    ``patience``: seconds to wait for the primary once the local answer has ended without text.
    ``won`` is called if the primary is first.
    """

    def __init__(
        self,
        late: PrimaryError,
        failure: PrimaryFailure,
        rival: BackgroundReader,
        clock: Clock,
        patience: float,
        won: Callable[[], None],
    ) -> None:
        self.late = late
        self.failure = failure
        self.rival = rival
        self._clock = clock
        self._patience = patience
        self._won = won
        self._until: float | None = None

    def is_lost(self) -> bool:
        """Return whether to stop waiting for the primary."""
        if self.rival.has_text() or not self.rival.ended_without_text():
            return self.rival.has_text()
        if self._until is None:
            self._until = self._clock.now() + self._patience
        return self._clock.now() >= self._until

    def wait(self) -> None:
        """Wait until there is a local answer, or will be none."""
        self.rival.wait_for_verdict()

    def won(self) -> None:
        """The primary was first: stop the local answer."""
        self.rival.abandon()
        self._won()
