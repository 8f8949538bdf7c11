"""Bounds the request with which the ``lmstudio`` library checks whether LM Studio is up.

The library waits a second for each piece of the answer and reads it to its end. If another program has the port, there
may be no end: the message would wait for its deadline, and a thread would keep all that comes.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zwaif_hooks.guards.swap import swap
from zwaif_hooks.network.patient_sockets import register_sockets
from zwaif_hooks.network.server_errors import error_body
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.stream import CancelScope

if TYPE_CHECKING:
    import httpx

QUESTION = "_query_probe_url"
SECONDS = 1.0
"""The library's own limit, but for everything before the text of the greeting."""


def install(module: ModuleType, runtime: Runtime) -> None:
    """Bound the request; ``module`` is ``lmstudio``. A library without it needs nothing."""
    client: Any = getattr(module, "Client", None)
    if not hasattr(client, QUESTION):
        return

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda url: ask(url) if runtime.enabled else original(url)

    swap(client, QUESTION, make, {"url"})


def ask(url: str) -> httpx.Response:
    """Return the answer, as far as it came in time.

    Raises:
        httpx.TransportError: as from ``httpx.get``.
    """
    import httpx

    from zwaif_hooks.network.httpx_backend import watch_httpx

    scope = CancelScope()
    with httpx.Client(timeout=SECONDS) as client, register_sockets(scope):
        watch_httpx(client)
        scope.expire_in(SECONDS)
        try:
            with client.stream("GET", url) as answer:
                good = answer.status_code == httpx.codes.OK
                broken = (httpx.HTTPError, httpx.StreamError, OSError)
                said = error_body(answer.iter_bytes(), scope, broken) if good else b""
                return httpx.Response(answer.status_code, content=said)
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no answer within {SECONDS:g} s") from error
