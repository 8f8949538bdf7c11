"""Asks a server for one token: a neutral question that shows whether it can generate at all."""

from __future__ import annotations

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.internal_errors import is_internal_error
from zwaif_hooks.failover.silence import FixedLimits
from zwaif_hooks.log import note
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network.connect import listens, may_be_behind_a_proxy
from zwaif_hooks.reply.false_replies import could_be_an_apology, is_an_apology
from zwaif_hooks.stream import Chunk, PrimaryError, Source

CHECK_SECONDS = 15.0
"""Time for the probe that decides after a failure. A server that is busy with another request is not broken, so
silence decides nothing."""
END_MARK_SECONDS = 5.0
"""Time for the whole answer to a probe while the user waits for it. Some servers write more than one token."""
PROBE_PATIENCE = (2.0, 4.0, 8.0, 15.0)
"""Seconds a probe waits for its first word. Each silence moves one step further, then the steps start over: a server
may be well again although the request it hung on never ends, but one that is loading its model needs the time."""
LOADING = len(PROBE_PATIENCE) - 1
"""The step to start with for a server that was down: it may be a new process that must load its model first."""
NOT_LOADED = Chunk("", reason="not loaded")
"""Yielded by a probe if the server is up but its user has unloaded the model: asking for a token would load it again.
The next message does so anyway and shows whether the server can generate."""
NOT_READ = Chunk("", reason="not read")
"""Returned if this package failed while reading the probe. That the server is up must do, or it would never be asked
again."""


class Probe:
    """Probes one server, and keeps the state that its next probe depends on."""

    def __init__(self, name: str, clock: Clock) -> None:
        self.source: Source | None = None
        """Asks the server for one token; None until a request has failed."""
        self.was_away = False
        """The server may be a new process with an empty memory."""
        self.proven = True
        """The last good probe or reply had text in it."""
        self._name = name
        self._clock = clock
        self._step = 0

    def outage_began(self, server_is_gone: bool) -> None:
        self._step = LOADING if server_is_gone else 0

    def succeeds(self) -> bool:
        """Return whether the server generates.

        One token is proof; a model list is not, because servers list models while they cannot generate.

        Raises:
            PrimaryError: it answered with an error, or was silent for too long.
        """
        if not listens(self._name):
            self.was_away, self._step = True, LOADING
            if self.source is None or not may_be_behind_a_proxy(self._name):
                return False
        if self.source is None:
            return True
        patience = PROBE_PATIENCE[self._step % len(PROBE_PATIENCE)]
        self._step += 1
        try:
            word = self.first_word(self.source, patience)
        except PrimaryError as error:
            if error.kind is not FailureKind.FIRST_TOKEN_TIMEOUT:
                self._step = 0
            raise
        self._step = 0
        if word is not None:
            self.proven = bool(word.text)
        return word is not None

    def fails(self) -> bool:
        """Return whether the server fails a probe as well. Silence does not count as a failure."""
        if not (listens(self._name) or (self.source is not None and may_be_behind_a_proxy(self._name))):
            return True
        try:
            return self.source is not None and self.first_word(self.source, CHECK_SECONDS) is None
        except PrimaryError as error:
            return error.kind is not FailureKind.FIRST_TOKEN_TIMEOUT

    def first_word(self, source: Source, patience: float) -> Chunk | None:
        """Return the first text of a probe's reply, ``NOT_LOADED`` or ``NOT_READ``.

        None if the reply has no text, or is only an apology.

        Raises:
            PrimaryError: the probe failed, or was silent for ``patience`` seconds.
        """
        reader = BackgroundReader(source, self._clock)
        reader.start()
        said = ""
        try:
            while (chunk := reader.take(FixedLimits(patience, patience))) is not None:
                said += chunk.text
                if chunk is NOT_LOADED or (said.strip() and not could_be_an_apology(said)):
                    return chunk
            return Chunk(said) if said.strip() and not is_an_apology(said) else None
        except PrimaryError as error:
            if not is_internal_error(error.original):
                raise
            note(f"An error in zwaif-fallback itself while probing {self._name}", error.original)
            return NOT_READ
        finally:
            reader.abandon()


def marks_its_ends(source: Source, clock: Clock) -> bool:
    """Return whether the server answers a probe now and says at its end that the reply is finished.

    Takes up to ``END_MARK_SECONDS``.
    """
    reader, until = BackgroundReader(source, clock), clock.now() + END_MARK_SECONDS
    reader.start()
    try:
        while (left := until - clock.now()) > 0:
            chunk = reader.take(FixedLimits(left, left))
            if chunk is None or chunk.reason:
                return chunk is not None
        return False
    except PrimaryError:
        return False
    finally:
        reader.abandon()
