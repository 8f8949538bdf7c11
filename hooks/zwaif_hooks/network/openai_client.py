"""Sends a request to an OpenAI-style server with ``requests`` and reads the answer.

Shared by the guard of the primary and by the second server, so both are bounded alike: in bytes, also while an answer
is decompressed, and in time, because every wait heeds the ``CancelScope`` of the reply.
"""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network import sse
from zwaif_hooks.network.decompress import unpacked
from zwaif_hooks.network.patient_sockets import register_sockets
from zwaif_hooks.network.server_errors import decoded, error_body, kind_of_status, message_in, pause_asked_for
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, UnmarkedEnd

if TYPE_CHECKING:
    import requests

Send = Callable[[], "requests.Response"]
"""Sends the request and returns when the headers of the answer are there."""


def read_reply(send: Send, address: str, scope: CancelScope) -> Iterator[Chunk]:
    """Yield the chunks of a chat reply, streamed or not.

    Raises:
        PrimaryError: whatever goes wrong, at any ``next``.
    """
    with answer_to(send, address, scope) as response, _reading(scope):
        try:
            yield from sse.read_reply(parts_of(response))
        except UnmarkedEnd as end:
            end.is_framed = getattr(response.raw, "chunked", False) or "Content-Length" in response.headers
            raise


def read_whole(send: Send, address: str, scope: CancelScope, most: int) -> bytes:
    """Return a whole answer of at most ``most`` bytes.

    Raises:
        PrimaryError: whatever goes wrong.
    """
    body = b""
    with answer_to(send, address, scope) as response, _reading(scope):
        for part in parts_of(response):
            body += part
            if len(body) > most:
                raise PrimaryError(FailureKind.UNREADABLE, f"the answer is longer than {most} bytes")
    return body


@contextlib.contextmanager
def _reading(scope: CancelScope) -> Iterator[None]:
    try:
        yield
    except network_errors() as error:
        raise PrimaryError(FailureKind.CUT, f"the connection broke: {short(error)}", original=error) from error
    except AttributeError as error:  # from urllib3, if another thread hung up; otherwise a bug here
        if not scope.cancelled:
            raise
        raise PrimaryError(FailureKind.UNKNOWN, "the reply was given up", original=error) from error


def answer_to(send: Send, address: str, scope: CancelScope) -> requests.Response:
    """Return the answer as soon as its headers are there.

    Raises:
        PrimaryError: there is none, or its status is an error.
    """
    import requests

    try:
        with register_sockets(scope):
            response = send()
    except requests.Timeout as error:  # a read timeout here is one of the TLS handshake
        cause = f"{address} did not accept the connection"
        raise PrimaryError(FailureKind.CONNECT_TIMEOUT, cause, original=error) from error
    except requests.ConnectionError as error:
        raise _refused_or_reset(error, address) from error
    except requests.RequestException as error:
        raise PrimaryError(FailureKind.UNKNOWN, short(error), original=error) from error
    _raise_for_status(response, address, scope)
    return response


def _raise_for_status(response: requests.Response, address: str, scope: CancelScope) -> None:
    status = response.status_code
    if status < 300:
        return
    # Z-Waif gets this response with this body if nobody else answers.
    body = response._content = error_body(parts_of(response), scope, network_errors())
    told = decoded(body, response.headers.get("Content-Type", ""))
    said = " ".join(told[:200].split())
    kind = kind_of_status(status, said)
    retry_after = pause_asked_for(response.headers) if kind is FailureKind.RATE_LIMITED else None
    cause = f"{address} answered {status} {response.reason or ''}".rstrip() + (f": {said}" if said else "")
    raise PrimaryError(kind, cause, status=status, retry_after=retry_after, response=response, said=message_in(told))


def parts_of(response: requests.Response) -> Iterator[bytes]:
    """Yield the decompressed body as it arrives, chunked or not.

    Raises:
        PrimaryError: it cannot be decompressed, or is too long.
    """
    return unpacked(_received(response.raw), response.raw.headers.get("Content-Encoding", ""))


def _received(raw: Any) -> Iterator[bytes]:
    """Yield bytes as soon as they arrive.

    For a chunked body urllib3 waits for the end of each chunk, which may hold the whole reply. ``http.client`` below it
    does not, and is faster.
    """
    below: Any = getattr(raw, "_fp", None)
    chunked = getattr(raw, "chunked", False)
    if chunked and hasattr(below, "read1"):
        while part := below.read1(65536):
            if (below.chunk_left or 0) < 0:
                raise http.client.IncompleteRead(part)
            yield part
        return
    if chunked or not hasattr(raw, "read1"):
        yield from raw.stream(None if chunked else 1, decode_content=False)
        return
    while part := raw.read1(65536, decode_content=False):
        yield part


def network_errors() -> tuple[type[BaseException], ...]:
    """Return the exceptions of a broken connection."""
    import requests
    import urllib3

    broken = (http.client.HTTPException, urllib3.exceptions.HTTPError)
    return (requests.RequestException, *broken, OSError)


def _refused_or_reset(error: Exception, address: str) -> PrimaryError:
    text = repr(error)
    if "NameResolution" in text or "getaddrinfo" in text:
        return PrimaryError(FailureKind.REFUSED, f"the name in {address} does not resolve", original=error)
    if "NewConnectionError" in text or "refused" in text:
        return PrimaryError(FailureKind.REFUSED, f"connection refused by {address}", original=error)
    return PrimaryError(FailureKind.CUT, f"{address} closed the connection", original=error)


def short(error: BaseException) -> str:
    """Return the class and the message of ``error`` in one line."""
    text, name = " ".join(str(error).split())[:160], type(error).__name__
    return text if text.startswith(name) else f"{name}: {text}"
