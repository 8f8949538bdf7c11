"""The primary LLM server's state: a circuit breaker made for one local server, with a background probe.

Closed (healthy or failing): requests go to the primary. Open: none does, a background probe looks for its return.
Half-open is the probe itself, never a user's request. No circuit breaker library gives that (pybreaker, aiobreaker and
purgatory spend the next user's request as their probe), and none tells a refused connection from a slow answer.
"""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.deadlines import FirstTokenHistory, PauseHistory
from zwaif_hooks.failover.end_history import EndHistory
from zwaif_hooks.failover.internal_errors import is_internal_error
from zwaif_hooks.failover.silence import FixedLimits
from zwaif_hooks.log import note
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.network import loopback
from zwaif_hooks.network.addresses import is_this_machine
from zwaif_hooks.reply.false_replies import could_be_an_apology, is_an_apology
from zwaif_hooks.stream import Chunk, PrimaryError, Source

FOR_THE_USER = frozenset({FailureKind.MISCONFIGURED, FailureKind.NO_MODEL})
"""Failures that waiting will not mend, but the user can."""
SILENT = frozenset({FailureKind.FIRST_TOKEN_TIMEOUT, FailureKind.STALLED})
"""Failures of a server that hangs: the next message would wait as long, and a probe finds out without one."""
HARD = SILENT | {FailureKind.REFUSED, FailureKind.CONNECT_TIMEOUT, FailureKind.RATE_LIMITED, FailureKind.NO_MODEL}
"""Failures of the server itself: the next request would fail too, whatever it says. After any other, a neutral question
decides, because one request must not decide for others."""
STEADY = FOR_THE_USER | {FailureKind.RATE_LIMITED}
"""Failures of a server that is there and knows what it says: no sign that it comes and goes."""
MARK_SECONDS = 5.0
"""How long the whole answer to a neutral question may take while somebody waits for it: some servers write more than
the one token that is asked for."""
LOOK_SECONDS = 15.0
"""How long the neutral question may take that decides after a failure. A server that is busy with another's request is
not a broken one: silence decides nothing."""
EXPLAIN_SECONDS = 60.0
"""Between two times that a server is asked why it failed without a word: that sends the same request once more."""
PROBE_SECONDS = 0.8
"""Between two probes of a server that may be back at any moment: people want their own model back at once."""
CONFIRM_SECONDS = 0.5
"""Between the probes that confirm a recovery: half the period of a server that flaps once a second, so one fails."""
UNPROVEN_SECONDS = 5.0
"""The same where the probes may not ask for a token: what is believed without proof may cost a message a moment."""
CONFIRMATIONS = 2
"""Probes in a row that must succeed; twice as many after each outage that began soon after a recovery."""
MOST_CONFIRMATIONS = 8
"""So that a server that is well again never waits for more than about five seconds to be believed."""
FLAPPING_SECONDS = 60.0
"""An outage that begins within this long of the last recovery is no new one: the server is flapping."""
SLOW_PROBE_SECONDS = 3.0
"""Between two probes of a server that answers, but with an error only its owner can mend."""
PATIENCE_SECONDS = 120.0
"""After this long such a server is probed at a quarter of the pace."""
PROBE_PATIENCE = (2.0, 4.0, 8.0, 15.0)
"""Seconds that a probe waits for its word: longer after each that met silence, then from the beginning. A server that
hung may be well again while the very request that it hung on never ends; one that loads its model needs the time."""
LOADING = len(PROBE_PATIENCE) - 1
"""Where to begin with a server that was away: it may be a new process that loads its model first."""
GONE = frozenset({FailureKind.REFUSED, FailureKind.CONNECT_TIMEOUT})
"""Failures that say that no server is there."""
AWAY = GONE | {FailureKind.CUT}
"""Failures after which the server may be a new process, with nothing in its memory."""
UNEXPLAINED = frozenset({FailureKind.CUT, FailureKind.EMPTY})
"""Failures that say nothing about their reason."""
NOT_LOADED = Chunk("", reason="not loaded")
"""A probe's answer where the server is there, but its user has taken the model out of its memory: to ask for a token
would load it again. The next message does that anyway, and shows whether it can speak."""
NOT_READ = Chunk("", reason="not read")
"""The same where code of ours failed in asking: that the server is there must do, or it would never be asked again."""

Listener = Callable[[str, "PrimaryFailure | None", float], None]


@dataclass(frozen=True)
class PrimaryStatus:
    """What the Settings tab and ``status`` show."""

    name: str
    state: str
    """``healthy``, ``failing`` (soft failures so far) or ``open``."""
    since: float
    """Seconds the state has lasted."""
    last_failure: PrimaryFailure | None


class Primary:
    """One LLM server. Thread-safe.

    ``on_change(name, failure, seconds)`` is called when an outage begins (with its failure) and when it ends (with
    None and the outage's length in seconds).
    """

    def __init__(self, name: str, on_change: Listener, clock: Clock | None = None) -> None:
        self.name = name
        self._on_change = on_change
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self.is_open = False
        """Whether no request of the user's may go to it now."""
        self._failing = self._looking = False
        self._changed_at = self._clock.now()
        self._last_failure: PrimaryFailure | None = None
        self._not_before = 0.0
        self._probe: Source | None = None
        self._prober: threading.Thread | None = None
        self._closed_for_good = False
        self._recovered_at: float | None = None
        self._proven = True
        self._asked_why_at: float | None = None
        self._told: set[str] = set()
        self._was_away = False
        self._needed = CONFIRMATIONS
        self._silences = 0
        self.first_token = FirstTokenHistory(self._clock)
        self.pauses = PauseHistory()
        self.ends = EndHistory()

    def open_failure(self) -> PrimaryFailure:
        """What to tell a plugin about a request that was not even asked."""
        last = self._last_failure
        cause = f"{self.name} failed a moment ago ({last.cause})" if last else f"{self.name} is not answering"
        return PrimaryFailure(FailureKind.OPEN, cause)

    def succeeded(self) -> None:
        """A reply came through, whole."""
        self._proven = True
        if self._failing or self.is_open:
            self._close_breaker()

    def failed(self, failure: PrimaryFailure, probe: Source | None = None) -> bool:
        """A request failed. True where it is not to be asked any more; otherwise ``look`` decides.

        ``probe`` is how to ask this server for one token later (None: see whether it is there).
        """
        self.ends.failed(failure.exception)
        with self._lock:
            self._last_failure = failure
            self._failing = True
            if failure.kind is FailureKind.FIRST_TOKEN_TIMEOUT:
                self.first_token.missed()
            if probe is not None:
                self._probe = probe
            if failure.retry_after:
                self._not_before = self._clock.now() + failure.retry_after
            self._was_away = self._was_away or failure.kind in AWAY
        if failure.kind in HARD or not self._proven:
            self._open(failure)
        return self.is_open

    def look(self, failure: PrimaryFailure) -> None:
        """Ask a neutral question after ``failure``, and ask no user's any more where that one fails as well.

        Takes up to ``LOOK_SECONDS``; does nothing where somebody is looking already.
        """
        with self._lock:
            if self._looking or self.is_open or self._closed_for_good:
                return
            self._looking = True
        try:
            broken = self._cannot_answer()
        finally:
            self._looking = False
        if broken and self._failing:
            self._open(failure)

    def marks_its_ends(self, probe: Source) -> bool:
        """Ask something neutral: does it answer now, and say in the end that it is finished?

        Takes up to ``MARK_SECONDS``.
        """
        pump, until = BackgroundReader(probe, self._clock), self._clock.now() + MARK_SECONDS
        pump.start()
        try:
            while (left := until - self._clock.now()) > 0:
                chunk = pump.take(FixedLimits(left, left))
                if chunk is None or chunk.reason:
                    return chunk is not None
            return False
        except PrimaryError:
            return False
        finally:
            pump.abandon()

    def _open(self, failure: PrimaryFailure) -> None:
        with self._lock:
            if self.is_open or self._closed_for_good:
                return
            self.is_open = True
            self._last_failure = failure
            self._silences = LOADING if failure.kind in GONE else 0
            self._changed_at = self._clock.now()
            self._needed = self._confirmations_needed(failure.kind)
            self._start_prober()
        self._on_change(self.name, failure, 0.0)

    def may_load(self) -> bool:
        """May a probe have the server load its model? Not where only its user can have taken it out of memory.

        A server that was away has an empty memory without anybody's doing, and one that has no such model loads none.
        """
        return self._was_away or self._is_for_the_user()

    def _is_for_the_user(self) -> bool:
        return self._last_failure is not None and self._last_failure.kind in FOR_THE_USER

    def first_time(self, what: str) -> bool:
        """Whether ``what`` was not told to the user yet; from now on it was."""
        with self._lock:
            new = what not in self._told
            self._told.add(what)
            return new

    def needs_explanation(self, failure: PrimaryFailure) -> bool:
        """Whether to find out why it failed: for what came without a word and a reason, once in a while."""
        with self._lock:
            now, before = self._clock.now(), self._asked_why_at
            if failure.delivered or failure.kind not in UNEXPLAINED:
                return False
            if before is not None and now - before < EXPLAIN_SECONDS:
                return False
            self._asked_why_at = now
            return True

    def status(self) -> PrimaryStatus:
        state = "open" if self.is_open else "failing" if self._failing else "healthy"
        return PrimaryStatus(self.name, state, self._clock.now() - self._changed_at, self._last_failure)

    def shut_down(self) -> None:
        with self._lock:
            self._closed_for_good = True
            self._wake.notify_all()

    def _close_breaker(self) -> None:
        with self._lock:
            was_open, lasted = self.is_open, self._clock.now() - self._changed_at
            self.is_open = self._failing = self._was_away = False
            self._asked_why_at = None
            self._changed_at = self._recovered_at = self._clock.now()
            self._wake.notify_all()
        if was_open:
            self._on_change(self.name, None, lasted)

    def _start_prober(self) -> None:
        if self._prober is not None and self._prober.is_alive():
            return
        self._prober = threading.Thread(target=self._probe_until_well, name="zwaif-probe", daemon=True)
        self._prober.start()

    def _confirmations_needed(self, kind: FailureKind) -> int:
        recent = self._recovered_at is not None and self._clock.now() - self._recovered_at < FLAPPING_SECONDS
        flapping = recent and kind not in STEADY
        return min(MOST_CONFIRMATIONS, self._needed * 2) if flapping else CONFIRMATIONS

    def _probe_until_well(self) -> None:
        confirmed = 0
        while True:
            with self._lock:
                confirm = CONFIRM_SECONDS if self._proven else UNPROVEN_SECONDS
                pause = confirm if confirmed else self._pause()
                self._clock.wait(self._wake, lambda: not self.is_open or self._closed_for_good, pause)
                if not self.is_open or self._closed_for_good:
                    self._prober = None
                    return
            confirmed = confirmed + 1 if self._is_well() else 0
            if confirmed >= self._needed:
                confirmed = 0
                self._close_breaker()

    def _pause(self) -> float:
        pause = PROBE_SECONDS
        if self._is_for_the_user():
            patient = self._clock.now() - self._changed_at > PATIENCE_SECONDS
            pause = SLOW_PROBE_SECONDS * (4 if patient else 1)
        return max(pause * random.uniform(0.8, 1.2), self._not_before - self._clock.now())

    def _is_well(self) -> bool:
        """One token is proof; a model list is not: servers list models while they cannot speak."""
        if not listens(self.name):
            self._was_away, self._silences = True, LOADING
            if self._probe is None or not may_be_behind_a_proxy(self.name):
                return False
        return self._probe is None or self._generates(self._probe)

    def _cannot_answer(self) -> bool:
        """Whether it fails a neutral question, too; silence says nothing."""
        if not listens(self.name) and not (self._probe is not None and may_be_behind_a_proxy(self.name)):
            return True
        try:
            return self._probe is not None and self._word_of(self._probe, LOOK_SECONDS) is None
        except PrimaryError as error:
            return error.kind is not FailureKind.FIRST_TOKEN_TIMEOUT

    def _generates(self, probe: Source) -> bool:
        patience = PROBE_PATIENCE[self._silences % len(PROBE_PATIENCE)]
        self._silences += 1
        try:
            word = self._word_of(probe, patience)
        except PrimaryError as error:
            silent = error.kind is FailureKind.FIRST_TOKEN_TIMEOUT
            if not silent:
                self._silences = 0
            if not (silent and self._is_for_the_user()):  # silence does not take back that it has no such model
                self._last_failure = PrimaryFailure(error.kind, error.cause, status=error.status, said=error.said)
            self._not_before = self._clock.now() + (error.retry_after or 0.0)
            return False
        self._silences = 0
        if word is not None:
            self._proven = bool(word.text)
        return word is not None

    def _word_of(self, probe: Source, patience: float) -> Chunk | None:
        """The first word of a probe's reply, ``NOT_LOADED`` or ``NOT_READ``; None for no word, or but an apology.

        Raises:
            PrimaryError: it failed, or was silent for ``patience`` seconds.
        """
        pump = BackgroundReader(probe, self._clock)
        pump.start()
        said = ""
        try:
            while (chunk := pump.take(FixedLimits(patience, patience))) is not None:
                said += chunk.text
                if chunk is NOT_LOADED or (said.strip() and not could_be_an_apology(said)):
                    return chunk
            return Chunk(said) if said.strip() and not is_an_apology(said) else None
        except PrimaryError as error:
            if not is_internal_error(error.original):
                raise
            note(f"A fault in zwaif-fallback itself, in asking {self.name} whether it is well", error.original)
            return NOT_READ
        finally:
            pump.abandon()


class PrimaryRegistry:
    """Every primary of this process, by ``host:port``."""

    def __init__(self, on_change: Listener, clock: Clock | None = None) -> None:
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._primaries: dict[str, Primary] = {}

    def get(self, name: str) -> Primary:
        primary = self._primaries.get(name)
        if primary is None:
            with self._lock:
                primary = self._primaries.setdefault(name, Primary(name, self._on_change, self._clock))
        return primary

    def one_is_open(self) -> bool:
        """Whether any of them is not to be asked now."""
        for primary in list(self._primaries.values()):  # noqa: SIM110 - before each message: any() is slower
            if primary.is_open:
                return True
        return False

    def statuses(self) -> list[PrimaryStatus]:
        return [primary.status() for primary in list(self._primaries.values())]

    def shut_down(self) -> None:
        for primary in list(self._primaries.values()):
            primary.shut_down()


def may_be_behind_a_proxy(name: str) -> bool:
    """Whether a client may reach it though nothing listens directly; never true of what is on this machine."""
    host = name.rpartition(":")[0].strip("[]")
    if is_this_machine(host):
        return False
    from urllib.request import getproxies, proxy_bypass

    return bool(getproxies()) and not proxy_bypass(host)


def listens(name: str, timeout: float = 1.0) -> bool:
    """Does anything accept connections there? True as well where the name holds no port to try."""
    host, _, port = name.rpartition(":")
    if not host or not port.isdigit():
        return True
    host = host.strip("[]")
    connect = loopback.connect if is_this_machine(host) else _connect
    try:
        with connect(host, int(port), timeout):
            return True
    except (OSError, ValueError, OverflowError):  # a name that cannot be encoded, a port above 65535
        return False


def _connect(host: str, port: int, timeout: float) -> socket.socket:
    return socket.create_connection((host, port), timeout)
