"""The streams of v1.14: its controller iterates over the client itself."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import sseclient

from zwaif_hooks.guards import sse_client


@pytest.fixture(autouse=True)
def uninstalled() -> Iterator[None]:
    yield
    if "__iter__" in vars(sseclient.SSEClient):
        del sseclient.SSEClient.__iter__
    assert not hasattr(sseclient.SSEClient, "__iter__")


def test_v1_14_gets_the_events_of_its_stream() -> None:
    stream = sseclient.SSEClient(iter([b'data: {"choices": 1}\n\n', b": ping\n\n", b"data: 2\n\n"]))
    with pytest.raises(TypeError, match="not iterable"):
        iter(stream)
    sse_client.install(sseclient)
    sse_client.install(sseclient)
    assert [event.data for event in stream] == ['{"choices": 1}', "2"]


def test_releases_that_ask_for_the_events_get_them_as_before() -> None:
    sse_client.install(sseclient)
    stream = sseclient.SSEClient(iter([b"data: 1\n\n"]))
    assert [event.data for event in stream.events()] == ["1"]


class Iterable:
    """The other library that is called sseclient."""

    def __iter__(self) -> Iterator[Any]:
        return iter(["its own"])


@pytest.mark.parametrize("client", [Iterable, SimpleNamespace, None])
def test_another_library_of_that_name_is_left_alone(client: Any) -> None:
    module: Any = ModuleType("sseclient")
    module.SSEClient = client
    before = dict(vars(client)) if client else None
    sse_client.install(module)
    assert client is None or dict(vars(client)) == before
