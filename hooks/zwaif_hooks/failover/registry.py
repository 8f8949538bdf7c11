"""Every LLM server that Z-Waif has asked."""

from __future__ import annotations

import threading
from collections.abc import Callable

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.failover.breaker import Learned, Listener, Primary, PrimaryStatus


class PrimaryRegistry:
    """The primaries of this process, by ``host:port``."""

    def __init__(self, on_change: Listener, clock: Clock | None = None) -> None:
        self._on_change = on_change
        self._clock = clock
        self._lock = threading.Lock()
        self._primaries: dict[str, Primary] = {}
        self._prepare: Callable[[Primary], None] = lambda primary: None

    def get(self, name: str) -> Primary:
        primary = self._primaries.get(name)
        if primary is None:
            with self._lock:
                primary = self._primaries.get(name)
                if primary is None:
                    primary = Primary(name, self._on_change, self._clock)
                    self._prepare(primary)
                    self._primaries[name] = primary
        return primary

    def prepare_with(self, prepare: Callable[[Primary], None]) -> None:
        """Call ``prepare`` with every primary: now with those that exist, and with each new one before it is used."""
        with self._lock:
            self._prepare = prepare
            for primary in self._primaries.values():
                prepare(primary)

    def learned(self) -> dict[str, Learned]:
        """Return what the next run should know, by ``host:port``."""
        return {name: primary.learned() for name, primary in list(self._primaries.items())}

    def one_is_open(self) -> bool:
        """Return whether any of them must not be asked now."""
        for primary in list(self._primaries.values()):  # noqa: SIM110 - runs before each message, and any() is slower
            if primary.is_open:
                return True
        return False

    def statuses(self) -> list[PrimaryStatus]:
        return [primary.status() for primary in list(self._primaries.values())]

    def shut_down(self) -> None:
        for primary in list(self._primaries.values()):
            primary.shut_down()
