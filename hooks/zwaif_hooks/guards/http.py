"""Guard of ``requests``: text-generation-webui (Oobabooga) and every other OpenAI-style server.

``Session.request`` is behind ``requests.post``, ``from requests import post`` and v1.14's own session, so replacing it
covers every release. Requests that are not chats (R4's start-up pings have no ``messages``) pass unchanged.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from zwaif_hooks.failover.call import Call, InternalError, NobodyAnswered, must_repeat_unguarded
from zwaif_hooks.failover.deadlines import connect_seconds
from zwaif_hooks.failover.turn import Turn
from zwaif_hooks.guards import empty_reply
from zwaif_hooks.guards.changed_request import change_by_plugins
from zwaif_hooks.guards.request import (
    newest_picture,
    plain_messages,
    prompt_chars,
    purpose_of_caller,
    stop_sequences,
    with_context,
)
from zwaif_hooks.guards.swap import swap
from zwaif_hooks.host.sampling import sampling_from
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ChatRequest, PrimaryFailure, Purpose
from zwaif_hooks.network import sse
from zwaif_hooks.network.addresses import needs_lookup
from zwaif_hooks.network.decompress import ASKED_FOR
from zwaif_hooks.network.openai_client import read_reply
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.stream import CancelScope, Chunk

if TYPE_CHECKING:
    import requests

CHAT_PATH = "/chat/completions"
PASS_HEADER = "X-ZWaif-Fallback"
"""Marks a request or session that is not guarded: the second server's, or a plugin's own."""
SAFETY_READ_TIMEOUT = 600.0
"""Seconds after which the thread of a silent socket ends if the socket could not be closed from outside."""

Original = Callable[..., "requests.Response"]


def install(module: ModuleType, runtime: Runtime) -> None:
    """Replace ``requests.Session.request``; ``module`` is ``requests.sessions``."""

    def make(original: Original) -> Original:
        def request(self: Any, method: Any, url: Any, *args: Any, **kwargs: Any) -> requests.Response:
            body = None if PASS_HEADER in self.headers else _chat_body(method, url, args, kwargs)
            if body is None or not runtime.enabled:
                return original(self, method, url, *args, **kwargs)
            without_us = functools.partial(original, self, method, url, *args, **kwargs)
            try:
                return _Exchange(original, self, str(url), body, kwargs, runtime, without_us).respond()
            except Exception as error:
                if not must_repeat_unguarded(error, runtime):
                    raise
                return without_us()

        return request

    swap(module.Session, "request", make, {"method", "url", "json", "headers", "stream", "timeout"})


def _chat_body(method: Any, url: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any] | None:
    """Return the JSON of a chat request in the form Z-Waif uses; None for any other request."""
    if args or not isinstance(url, str) or CHAT_PATH not in url or str(method).upper() != "POST":
        return None
    if PASS_HEADER in (kwargs.get("headers") or ()):
        return None
    body = kwargs.get("json")
    if body is None:
        body = _decoded(kwargs.get("data"))
    if isinstance(body, dict) and isinstance(body.get("messages"), list):
        return body
    return None


def _decoded(data: Any) -> Any:
    if not isinstance(data, (str, bytes)):
        return None
    try:
        return json.loads(data)
    except ValueError:
        return None


class _Exchange:
    """One chat request, and the response made for it."""

    def __init__(
        self,
        original: Original,
        session: Any,
        url: str,
        body: dict[str, Any],
        kwargs: dict[str, Any],
        runtime: Runtime,
        without_us: Callable[[], requests.Response],
    ) -> None:
        self._original = original
        self._session = session
        self._url = url
        self._body = body
        self._kwargs = {k: v for k, v in kwargs.items() if k not in ("data", "json", "stream", "timeout")}
        self._kwargs["headers"] = {"Accept-Encoding": ASKED_FOR, **(kwargs.get("headers") or {})}
        self._runtime = runtime
        self._without_us = without_us
        self._host, self._address = _place(url)
        self._purpose = purpose_of_caller()
        self._described: ChatRequest | None = None

    def respond(self) -> requests.Response:
        from zwaif_hooks.network.requests_adapter import can_watch

        self._let_plugins_change_it()
        call = Call(
            self._address,
            self._read,
            self._probe,
            self._describe,
            "oobabooga",
            functools.partial(prompt_chars, self._body["messages"]),
            self._why,
            max_tokens=_asked_for(self._body),
            direct=can_watch(),
            named=needs_lookup(self._host),
        )
        streamed = bool(self._body.get("stream"))
        turn = Turn(call, self._runtime).start(ahead=streamed)
        return self._streamed(turn) if streamed else self._whole(turn)

    def _let_plugins_change_it(self) -> None:
        change = change_by_plugins(self._runtime, self._describe)
        if change is None:
            return
        body = change.options(self._body) | {"messages": change.messages(self._body["messages"])}
        if change.after.model != change.before.model:
            body["model"] = change.after.model
        self._body, self._described = body, change.after

    def _streamed(self, turn: Turn) -> requests.Response:
        response = self._response(b"text/event-stream")
        response.raw = _EventBody(turn, self._model(), self._raised, self._without_us)
        return response

    def _whole(self, turn: Turn) -> requests.Response:
        try:
            text = "".join(chunk.text for chunk in turn.chunks())
        except NobodyAnswered as nobody:
            if nobody.error is not None and nobody.error.response is not None:
                answered: requests.Response = nobody.error.response
                return answered
            raise self._raised(nobody) from None
        response = self._response(b"application/json")
        response._content = json.dumps(sse.completion(text, self._model())).encode()
        return response

    def _response(self, content_type: bytes) -> requests.Response:
        import requests

        response = requests.Response()
        response.status_code = 200
        response.reason = "OK"
        response.url = self._url
        response.encoding = "utf-8"
        response.headers["Content-Type"] = content_type.decode()
        return response

    def _model(self) -> str:
        return str(self._body.get("model") or self._body.get("character") or "")

    def _raised(self, nobody: NobodyAnswered) -> BaseException:
        import requests

        cause = nobody.failure.exception
        if isinstance(cause, requests.RequestException):
            return cause
        return requests.ConnectionError(nobody.failure.cause)

    def _read(self, scope: CancelScope) -> Iterator[Chunk]:
        """Ask for a stream even if Z-Waif wants the whole reply: only a stream shows that the server is alive."""
        yield from self._ask({**self._body, "stream": True}, scope)

    def _probe(self, scope: CancelScope) -> Iterator[Chunk]:
        greeting = [{"role": "user", "content": "Hi"}]
        body = {key: value for key, value in self._body.items() if key in ("mode", "character", "model", "preset")}
        yield from self._ask({**body, "messages": greeting, "max_tokens": 1, "stream": True}, scope)

    def _why(self) -> PrimaryFailure | None:
        send = functools.partial(self._original, self._own_session(), **self._kwargs)
        return empty_reply.reason_of(send, self._url, self._body, self._address)

    def _ask(self, body: dict[str, Any], scope: CancelScope) -> Iterator[Chunk]:
        send = functools.partial(
            self._original,
            self._own_session(),
            "POST",
            self._url,
            json=body,
            stream=True,
            timeout=(connect_seconds(self._runtime.settings, self._host), SAFETY_READ_TIMEOUT),
            **self._kwargs,
        )
        return read_reply(send, self._address, scope)

    def _own_session(self) -> requests.Session:
        from zwaif_hooks.network.requests_adapter import watched_session

        return watched_session(self._session)

    def _describe(self) -> ChatRequest:
        if self._described is not None:
            return self._described
        messages, pictured = plain_messages(self._body["messages"])
        request = ChatRequest(
            backend="oobabooga",
            messages=messages,
            max_tokens=int(self._body.get("max_tokens") or DEFAULT_MAX_TOKENS),
            stop=stop_sequences(self._body.get("stop")),
            sampling=sampling_from("oobabooga", self._body, self._runtime.tree),
            stream=bool(self._body.get("stream")),
            has_image=pictured or self._purpose is Purpose.IMAGE,
            picture=newest_picture(self._body["messages"]),
            model=str(self._body.get("model") or ""),
            primary=self._address,
        )
        return with_context(request, self._runtime, self._purpose)


class _EventBody:
    """Takes the place of urllib3's response in a ``requests.Response``: yields events as the reply is made."""

    def __init__(
        self,
        turn: Turn,
        model: str,
        raised: Callable[[NobodyAnswered], BaseException],
        without_us: Callable[[], Iterable[bytes]] = tuple,
    ) -> None:
        self._turn = turn
        self._events = _events(turn, model, raised, without_us)
        self._rest = b""
        self.closed = False

    def stream(self, amt: int = 0, decode_content: bool | None = None) -> Iterator[bytes]:
        rest, self._rest = self._rest, b""
        if rest:
            yield rest
        yield from self._events

    def read(self, amt: int | None = None, decode_content: bool | None = None) -> bytes:
        while amt is None or len(self._rest) < amt:
            event = next(self._events, None)
            if event is None:
                break
            self._rest += event
            if amt is not None:
                break
        taken, self._rest = (self._rest, b"") if amt is None else (self._rest[:amt], self._rest[amt:])
        return taken

    def close(self) -> None:
        self.closed = True
        self._turn.abandon()

    def release_conn(self) -> None:
        self.close()

    def __del__(self) -> None:
        """Abandon the turn: Z-Waif drops a response without closing it."""
        self._turn.abandon()


def _events(
    turn: Turn,
    model: str,
    raised: Callable[[NobodyAnswered], BaseException],
    without_us: Callable[[], Iterable[bytes]],
) -> Iterator[bytes]:
    try:
        for chunk in turn.chunks():
            yield chunk.native if chunk.native is not None else sse.event_bytes(chunk.text, model)
    except NobodyAnswered as nobody:
        raise raised(nobody) from None
    except InternalError:
        yield from without_us()


def _asked_for(body: dict[str, Any]) -> int:
    asked = body.get("max_tokens")
    return asked if isinstance(asked, int) else 0


@functools.lru_cache(maxsize=16)
def _place(url: str) -> tuple[str, str]:
    """Return the host, and ``host:port``."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        port = parts.port
    except ValueError:  # not a port: requests will say so, and the breaker has a name
        return host, parts.netloc
    return host, f"{host}:{port or (443 if parts.scheme == 'https' else 80)}"
