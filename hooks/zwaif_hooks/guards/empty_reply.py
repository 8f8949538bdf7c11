"""Asks an OpenAI-style server why its reply was empty.

text-generation-webui sends an empty reply in two cases. Without a model it opens the stream and breaks it off. For a
parameter that it does not accept, a streamed request gets nothing; only an unstreamed one gets an error 400. So it is
asked which model it has loaded, and once for the same reply without a stream.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from zwaif_hooks.messages import FailureKind, PrimaryFailure
from zwaif_hooks.network.openai_client import answer_to, read_whole
from zwaif_hooks.network.server_errors import ERROR_BODY_BYTES, WORDS
from zwaif_hooks.stream import CancelScope, PrimaryError

if TYPE_CHECKING:
    import requests

MODEL_INFO = "/v1/internal/model/info"
"""text-generation-webui's own; other servers answer 404."""
SECONDS = 5.0
"""How long each of the two requests may take."""

Send = Callable[..., "requests.Response"]
"""``send(method, url, **arguments_of_requests)``, unguarded."""


def reason_of(send: Send, url: str, body: dict[str, Any], address: str) -> PrimaryFailure | None:
    """Return what is wrong and what the user can do; None if the server does not say."""
    try:
        if _has_no_model(send, url, address):
            return PrimaryFailure(FailureKind.NO_MODEL, f"no model is loaded in the server at {address}")
        return _refusal(send, url, body, address)
    except PrimaryError:  # it is down or busy, which explains nothing
        return None


def _has_no_model(send: Send, url: str, address: str) -> bool:
    parts = urlsplit(url)
    info = urlunsplit((parts.scheme, parts.netloc, MODEL_INFO, "", ""))
    ask = partial(send, "GET", info, timeout=SECONDS, stream=True)
    try:
        told = json.loads(read_whole(ask, address, _in_time(), ERROR_BODY_BYTES))
    except (ValueError, RecursionError):
        return False
    except PrimaryError as error:
        if error.status is None:
            raise
        return False
    return isinstance(told, dict) and "model_name" in told and told["model_name"] in (None, "", "None")


def _refusal(send: Send, url: str, body: dict[str, Any], address: str) -> PrimaryFailure | None:
    ask = partial(send, "POST", url, json={**body, "stream": False}, timeout=SECONDS, stream=True)
    try:
        answer_to(ask, address, _in_time()).close()
    except PrimaryError as error:
        if error.status is None:
            raise
        kind = FailureKind.MISCONFIGURED if error.kind is FailureKind.HTTP_ERROR and error.status < 500 else error.kind
        said = error.said or error.response.text[:WORDS]
        return PrimaryFailure(kind, f"{address} refuses the request: {said}", status=error.status, said=error.said)
    return None


def _in_time() -> CancelScope:
    """Return a scope that expires: a refusal comes at once, and anything slower is a reply, which nobody wants."""
    scope = CancelScope()
    scope.expire_in(SECONDS)
    return scope
