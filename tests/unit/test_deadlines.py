"""How long the guards wait is read at each request."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zwaif_hooks.deadlines import LOOPBACK_CONNECT_SECONDS, Deadlines, is_loopback
from zwaif_hooks.settings import GUARD_SETTINGS


def test_the_settings_are_read_each_time() -> None:
    values = {setting.name: setting.default for setting in GUARD_SETTINGS}
    store = SimpleNamespace(get=values.__getitem__)
    assert Deadlines.of(store) == Deadlines()
    values["API_FALLBACK_STALL_TIMEOUT"] = 33.0
    assert Deadlines.of(store) == Deadlines(stall=33.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1"])
def test_the_machine_itself_accepts_at_once_or_not_at_all(host: str) -> None:
    assert Deadlines(connect=5.0).connect_to(host) == LOOPBACK_CONNECT_SECONDS
    assert Deadlines(connect=0.2).connect_to(host) == 0.2


@pytest.mark.parametrize("host", ["192.168.1.5", "localhost.example", "example.org", "", "12.7.0.0"])
def test_another_machine_gets_the_time_it_was_given(host: str) -> None:
    assert not is_loopback(host)
    assert Deadlines(connect=5.0).connect_to(host) == 5.0
