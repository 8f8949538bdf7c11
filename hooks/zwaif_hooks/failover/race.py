"""A primary that is only late: a local answer is begun beside it, and whoever speaks first is heard."""

from __future__ import annotations

from collections.abc import Callable

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.messages import PrimaryFailure
from zwaif_hooks.stream import PrimaryError


class Race:
    """Silence before the first word is not yet death: a model may be loading.

    ``patience``: seconds that the primary is waited for once the local answer has ended without a word.
    ``won`` is called when the primary speaks first.
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
        """Whether the primary is not to be waited for any longer."""
        if self.rival.speaks() or not self.rival.ended_mute():
            return self.rival.speaks()
        if self._until is None:
            self._until = self._clock.now() + self._patience
        return self._clock.now() >= self._until

    def wait(self) -> None:
        """Until there is a local answer, or there will be none."""
        self.rival.wait_for_verdict()

    def won(self) -> None:
        """The primary spoke first."""
        self.rival.abandon()
        self._won()
