"""How long the guards wait is read at each request."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zwaif_hooks.failover.deadlines import LOOPBACK_CONNECT_SECONDS, connect_seconds
from zwaif_hooks.network.addresses import is_this_machine


def connecting_to(host: str, setting: float) -> float:
    return connect_seconds(SimpleNamespace(get={"API_FALLBACK_CONNECT_TIMEOUT": setting}.__getitem__), host)


def test_the_settings_are_read_each_time() -> None:
    values = {"API_FALLBACK_CONNECT_TIMEOUT": 3.0}
    store = SimpleNamespace(get=values.__getitem__)
    assert connect_seconds(store, "192.168.1.5") == 3.0
    values["API_FALLBACK_CONNECT_TIMEOUT"] = 33.0
    assert connect_seconds(store, "192.168.1.5") == 33.0


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]", "2130706433"])
def test_the_machine_itself_accepts_at_once_or_not_at_all(host: str) -> None:
    assert connecting_to(host, 5.0) == LOOPBACK_CONNECT_SECONDS
    assert connecting_to(host, 0.2) == 0.2


@pytest.mark.parametrize("host", ["192.168.1.5", "localhost.example", "127.example.org", "example.org", "", "12.7.0.0"])
def test_another_machine_gets_the_time_it_was_given(host: str) -> None:
    assert not is_this_machine(host)
    assert connecting_to(host, 5.0) == 5.0
