"""An urllib3 with unexpected internals: replies are read without patient sockets, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.faults.conftest import Guarded, hurry
from tests.helpers.clients import LOCAL, Ask, ask_http
from tests.helpers.fault_server import HALF, REPLY, FaultServer
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network import requests_adapter
from zwaif_hooks.stream import PrimaryError

__all__ = ["ask_http"]


@pytest.fixture(autouse=True, params=["POOL_INTERNALS", "CONNECTION_INTERNALS"])
def unknown(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    caches = (requests_adapter.can_watch, requests_adapter._adapters)
    monkeypatch.setattr(requests_adapter, request.param, ("_renamed_in_the_next_version",))
    for cache in caches:
        cache.cache_clear()
    assert not requests_adapter.can_watch()
    yield
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_healthy_reply_comes_through(guarded: Guarded, server: FaultServer, ask_http: Ask, stream: bool) -> None:
    assert ask_http(server.address, stream) == REPLY
    assert not guarded.lines


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_silence_still_meets_its_deadline(guarded: Guarded, server: FaultServer, ask_http: Ask, stream: bool) -> None:
    hurry(guarded, server, server.address)
    server.fault = "silence"
    assert ask_http(server.address, stream) == LOCAL
    assert guarded.plugin.asked[0][1].kind is FailureKind.FIRST_TOKEN_TIMEOUT


def test_a_reply_that_is_cut_is_continued(guarded: Guarded, server: FaultServer, ask_http: Ask) -> None:
    server.fault = "cut_without_end"
    assert ask_http(server.address, True) == HALF + LOCAL


def test_a_connection_that_cannot_be_checked_is_not_made() -> None:
    with pytest.raises(PrimaryError, match="too different"):
        requests_adapter.watched_session(requests.Session(), lambda address: "")
