"""Makes ``sseclient.SSEClient`` iterable, which v1.14's controller expects and the class is not.

In v1.14, R2 and R3 every streamed reply of text-generation-webui fails there, even with a healthy server; R4 discards
such a stream twice and asks a third time. The loop expects what the client's ``events()`` yields.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType
from typing import Any


def install(module: ModuleType) -> None:
    """Make the class iterable; ``module`` is ``sseclient``. Another library of that name has an iterable class."""
    client = getattr(module, "SSEClient", None)
    if client is not None and hasattr(client, "events") and not hasattr(client, "__iter__"):
        client.__iter__ = _iterate


def _iterate(client: Any) -> Iterator[Any]:
    return iter(client.events())
