"""Why an OpenAI-style server ended a reply without a word, and without saying why.

text-generation-webui does that in two cases. Without a model it opens the stream and breaks it off. A parameter that it
does not accept is an error 400 only for a request that is not streamed; a streamed one gets nothing. So it is asked
what it has loaded, and, once, for the same reply in one piece.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from zwaif_hooks.guards.answers import WORDS, kind_of_status, words_in
from zwaif_hooks.guards.sockets import sockets_to
from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.pump import Closers

if TYPE_CHECKING:
    import requests

MODEL_INFO = "/v1/internal/model/info"
"""text-generation-webui's own; other servers answer 404."""
SECONDS = 5.0
"""A refusal comes at once, whole. What takes longer is a reply, which is not wanted: it is hung up on."""

Send = Callable[..., "requests.Response"]
"""``send(method, url, **of requests)``, past the guard."""


def reason_of(send: Send, url: str, body: dict[str, Any], address: str) -> PrimaryFailure | None:
    """What is wrong, with what the user can do about it; None where the server does not say."""
    import requests

    def in_time(*args: Any, **kwargs: Any) -> requests.Response:
        closers = Closers()
        with sockets_to(closers):
            assert closers.patience is not None
            closers.patience.hurry(SECONDS)
            return send(*args, **kwargs)

    try:
        if _has_no_model(in_time, url):
            return PrimaryFailure(FailureKind.NO_MODEL, f"no model is loaded in the server at {address}")
        return _refusal(in_time, url, body, address)
    except (requests.RequestException, OSError):  # it is gone, or it is busy with a reply: both explain nothing
        return None


def _has_no_model(send: Send, url: str) -> bool:
    parts = urlsplit(url)
    info = urlunsplit((parts.scheme, parts.netloc, MODEL_INFO, "", ""))
    with send("GET", info, timeout=SECONDS) as response:
        told = _json_of(response) if response.status_code == 200 else None
    return isinstance(told, dict) and "model_name" in told and told["model_name"] in (None, "", "None")


def _refusal(send: Send, url: str, body: dict[str, Any], address: str) -> PrimaryFailure | None:
    with send("POST", url, json={**body, "stream": False}, timeout=SECONDS, stream=True) as response:
        if response.status_code < 400:
            return None
        said = words_in(response.content)
    kind = kind_of_status(response.status_code, said)
    if kind is FailureKind.HTTP_ERROR and response.status_code < 500:
        kind = FailureKind.MISCONFIGURED
    cause = f"{address} refuses the request: {said or response.text[:WORDS]}"
    return PrimaryFailure(kind, cause, status=response.status_code, said=said)


def _json_of(response: requests.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None
