"""How long the guards wait, read from the settings at the moment of each request."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import ip_address
from typing import Any, NamedTuple, Protocol

LOOPBACK_CONNECT_SECONDS = 0.5
"""A server on this machine accepts in microseconds, unless its queue is full."""


class Reads(Protocol):
    def get(self, name: str) -> Any: ...


class Limits(Protocol):
    """How much silence one reply may hold, in seconds. Asked for once there is some, as the question goes out first."""

    @property
    def first(self) -> float:
        """Before the first text."""

    @property
    def stall(self) -> float:
        """Between two pieces of text."""


class Known(NamedTuple):
    """Limits that are known beforehand."""

    first: float
    stall: float


FOREVER = Known(3600.0, 3600.0)
"""Plugins have their own deadlines; this only keeps a lost wake-up from lasting for ever."""


def connect_seconds(settings: Reads, host: str) -> float:
    """How long ``host`` may take to accept a connection; less on the machine itself."""
    seconds = float(settings.get("API_FALLBACK_CONNECT_TIMEOUT"))
    return min(seconds, LOOPBACK_CONNECT_SECONDS) if is_loopback(host) else seconds


def is_loopback(host: str) -> bool:
    return host == "localhost" or host == "::1" or host.startswith("127.")


@lru_cache(maxsize=16)
def is_numeric(host: str) -> bool:
    """Whether it can be connected to without a look-up that may take long."""
    if is_loopback(host):
        return True
    try:
        ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
