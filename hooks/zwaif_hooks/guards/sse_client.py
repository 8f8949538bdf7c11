"""v1.14's dead end for streams: its controller iterates over an ``sseclient.SSEClient``, which cannot be iterated over.

In v1.14, R2 and R3 every streamed reply of Oobabooga's ends so, whether the server is well or not; R4 throws such a
stream away twice and asks a third time. The events that the client has are what the loop there expects.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any


def install(module: ModuleType) -> None:
    """Let the class be iterated over; ``module`` is ``sseclient``. Another library of that name can do so by itself."""
    client = getattr(module, "SSEClient", None)
    if client is not None and hasattr(client, "events") and not hasattr(client, "__iter__"):
        client.__iter__ = _iterate


def uninstall(module: ModuleType) -> None:
    """Undo :func:`install`."""
    if getattr(module.SSEClient, "__iter__", None) is _iterate:
        del module.SSEClient.__iter__


def _iterate(client: Any) -> Iterator[Any]:
    return iter(client.events())
