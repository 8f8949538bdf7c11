"""How long the guards wait, read from the settings at the moment of each request."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Protocol

LOOPBACK_CONNECT_SECONDS = 0.5
"""A loopback address accepts in microseconds or not at all, but Windows repeats the attempt for two seconds."""


class Reads(Protocol):
    def get(self, name: str) -> Any: ...


@dataclass(frozen=True)
class Deadlines:
    """All in seconds."""

    connect: float = 2.0
    first_token: float = 15.0
    stall: float = 10.0

    @classmethod
    def of(cls, settings: Reads) -> Deadlines:
        return cls(
            settings.get("API_FALLBACK_CONNECT_TIMEOUT"),
            settings.get("API_FALLBACK_FIRST_TOKEN_TIMEOUT"),
            settings.get("API_FALLBACK_STALL_TIMEOUT"),
        )

    def connect_to(self, host: str) -> float:
        """The connect deadline for this host; shorter on the machine itself."""
        if is_loopback(host):
            return min(self.connect, LOOPBACK_CONNECT_SECONDS)
        return self.connect


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
