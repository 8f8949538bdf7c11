"""Guard of the ``ollama`` library.

``Client.chat`` is replaced while ``ollama`` is being imported, before the module-level ``chat`` is bound to it, so
every ``from ollama import chat`` gets the guarded function.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from zwaif_hooks.failover.call import Call, InternalError, NobodyAnswered, must_repeat_unguarded
from zwaif_hooks.failover.deadlines import Reads, connect_seconds
from zwaif_hooks.failover.probe import NOT_LOADED
from zwaif_hooks.failover.turn import Turn
from zwaif_hooks.guards.changed_request import change_by_plugins
from zwaif_hooks.guards.request import (
    newest_picture,
    plain_messages,
    prompt_chars,
    purpose_of_caller,
    stop_sequences,
    with_context,
)
from zwaif_hooks.guards.swap import MARK, swap
from zwaif_hooks.host.sampling import sampling_from
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ChatRequest, FailureKind, Purpose
from zwaif_hooks.network.addresses import needs_lookup
from zwaif_hooks.network.decompress import ASKED_FOR, unpacked
from zwaif_hooks.network.patient_sockets import current_scope, register_sockets
from zwaif_hooks.network.server_errors import (
    broken_off,
    decoded,
    describe_codes,
    error_body,
    kind_of_error,
    kind_of_status,
    message_in,
    pause_asked_for,
)
from zwaif_hooks.network.sse import lines, text_in
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, UnmarkedEnd, Usage

if TYPE_CHECKING:
    import httpx
    from ollama import ChatResponse

DEFAULT_ADDRESS = "127.0.0.1:11434"
_AS_USUAL = re.compile(r'"role": ?"[^"]+".*"content": ?"').search
"""Matches a line that needs no repair."""
REPLY = "ChatResponse"
"""Title of pydantic's error if the answer is not valid; otherwise the request is not."""


def install(module: ModuleType, runtime: Runtime) -> None:
    """Replace ``ollama.Client.chat``; ``module`` is ``ollama._client``."""

    def make(original: Callable[..., Any]) -> Callable[..., Any]:
        def chat(self: Any, model: str = "", messages: Any = None, **kwargs: Any) -> Any:
            unusual = kwargs.get("tools") or kwargs.get("format")
            if unusual or not messages or not runtime.enabled:
                return original(self, model, messages, **kwargs)
            without_us = partial(original, self, model, messages, **kwargs)
            try:
                return _Exchange(original, self, model, messages, kwargs, runtime, without_us).respond()
            except Exception as error:
                if not must_repeat_unguarded(error, runtime):
                    raise
                return without_us()

        return chat

    swap(module.Client, "chat", make, {"model", "messages", "stream", "options"})
    for name in ("ollama", "API.ollama_api", "API.api_controller"):
        rebind(sys.modules.get(name), module.Client)


def rebind(module: ModuleType | None, client_class: type) -> None:
    """Give a module that has already imported the unguarded ``chat`` the guarded one."""
    bound = getattr(module, "chat", None)
    guarded = client_class.chat  # type: ignore[attr-defined]
    if module is not None and getattr(bound, "__func__", None) is getattr(guarded, MARK, guarded):
        module.chat = guarded.__get__(bound.__self__)  # type: ignore[attr-defined,union-attr]


class _Exchange:
    """One chat call, and the result made for it."""

    def __init__(
        self,
        original: Callable[..., Any],
        client: Any,
        model: str,
        messages: Any,
        kwargs: dict[str, Any],
        runtime: Runtime,
        without_us: Callable[[], Any],
    ) -> None:
        self._original = original
        self._client = client
        self._model = model
        self._messages = list(messages)
        self._stream = bool(kwargs.pop("stream", False))
        self._kwargs = kwargs
        self._runtime = runtime
        self._without_us = without_us
        self._purpose = purpose_of_caller()
        self._server = _server_of(client, runtime.settings)
        self._described: ChatRequest | None = None

    def respond(self) -> Any:
        self._let_plugins_change_it()
        server = self._server
        call = Call(
            server.address,
            self._read,
            self._probe,
            self._describe,
            "ollama",
            partial(prompt_chars, self._messages),
            max_tokens=_asked_for(self._kwargs.get("options")),
            direct=server.direct,
            named=server.named,
        )
        turn = Turn(call, self._runtime).start(ahead=self._stream)
        return self._streamed(turn) if self._stream else self._whole(turn)

    def _let_plugins_change_it(self) -> None:
        change = change_by_plugins(self._runtime, self._describe)
        if change is None:
            return
        self._messages = change.messages(self._messages)
        self._kwargs = {**self._kwargs, "options": change.options(_plain(self._kwargs.get("options")))}
        self._model, self._described = change.after.model, change.after

    def _streamed(self, turn: Turn) -> Iterator[Any]:
        try:
            for chunk in turn.chunks():
                yield chunk.native if chunk.native is not None else self._response(chunk.text, done=False)
        except NobodyAnswered as nobody:
            raise nobody.original() from None
        except InternalError:
            yield from self._without_us()
        finally:
            turn.abandon()

    def _whole(self, turn: Turn) -> Any:
        text, last = "", None
        try:
            for chunk in turn.chunks():
                text += chunk.text
                last = chunk.native
        except NobodyAnswered as nobody:
            raise _as_of_a_whole_reply(nobody.original()) from None
        whole = self._response(text, done=True)
        if last is not None and last.done:
            return last.model_copy(update={"message": whole.message})
        return whole

    def _response(self, text: str, done: bool) -> ChatResponse:
        from ollama import ChatResponse, Message

        return ChatResponse(model=self._model, done=done, message=Message(role="assistant", content=text))

    def _read(self, scope: CancelScope) -> Iterator[Chunk]:
        """Ask for a stream even if Z-Waif wants the whole reply: only a stream shows that the server is alive."""
        yield from self._ask(self._messages, self._kwargs, scope)

    def _probe(self, scope: CancelScope) -> Iterator[Chunk]:
        """Ask for one token, but never from a model that the user has unloaded: asking would load it again."""
        if not self._runtime.primaries.get(self._server.address).may_load() and self._was_unloaded(scope):
            yield NOT_LOADED
            return
        kwargs = {**self._kwargs, "options": {"num_predict": 1}}
        yield from self._ask([{"role": "user", "content": "Hi"}], kwargs, scope)

    def _ask(self, messages: list[Any], kwargs: dict[str, Any], scope: CancelScope) -> Iterator[Chunk]:
        done = False
        try:
            parts = self._original(self._client, self._model, messages, stream=True, **kwargs)
            with register_sockets(scope):  # not while this generator is suspended: its thread may be Z-Waif's
                part = next(parts, None)
            while part is not None:
                if part.done:
                    done = True
                    broken = broken_off(part.done_reason)
                    reason = "" if broken is not None else part.done_reason or "stop"
                    yield Chunk(part.message.content or "", part, reason, _usage_of(part))
                    if broken is not None:
                        raise broken
                else:
                    yield Chunk(part.message.content or "", part)
                part = next(parts, None)
        except Exception as error:
            raise failure_of(error, self._server.address) from error
        if not done:
            raise UnmarkedEnd(knows_marks=True)

    def _was_unloaded(self, scope: CancelScope) -> bool:
        """Return whether the server lists the models in its memory, and this one is not among them."""
        try:
            with register_sockets(scope):
                running = self._client.ps().models
        except Exception:  # a server or library that does not know this request
            return False
        names = {name for model in running for name in (model.name, model.model) if name}
        return not names & {self._model, f"{self._model}:latest"}

    def _describe(self) -> ChatRequest:
        if self._described is not None:
            return self._described
        options = _plain(self._kwargs.get("options"))
        messages, pictured = plain_messages(self._messages)
        request = ChatRequest(
            backend="ollama",
            messages=messages,
            max_tokens=_asked_for(options) or DEFAULT_MAX_TOKENS,
            stop=stop_sequences(options.get("stop")),
            sampling=sampling_from("ollama", options, self._runtime.tree),
            stream=self._stream,
            has_image=pictured or self._purpose is Purpose.IMAGE,
            picture=newest_picture(self._messages),
            model=self._model or "",
            primary=self._server.address,
        )
        return with_context(request, self._runtime, self._purpose)


def _plain(options: Any) -> Mapping[str, Any]:
    if not options:
        return {}
    plain: Mapping[str, Any] = options if isinstance(options, Mapping) else options.model_dump(exclude_none=True)
    return plain


@dataclass(frozen=True, slots=True)
class _Server:
    """The server that one client of the library talks to."""

    url: Any
    address: str
    named: bool
    direct: bool
    """The client's reads heed a ``CancelScope``."""


_known: WeakKeyDictionary[Any, _Server] = WeakKeyDictionary()
"""By the httpx client inside. Working it out for each message would take a third of the guard's time."""


def _server_of(client: Any, settings: Reads) -> _Server:
    inner = getattr(client, "_client", None)
    if inner is None:
        return _Server(None, DEFAULT_ADDRESS, named=False, direct=False)
    if inner.timeout.connect is None:
        _limit_connecting(inner, settings)
    server = _known.get(inner)
    if server is None or server.url is not inner.base_url:
        from zwaif_hooks.network.httpx_backend import watch_httpx

        address = _place(str(inner.base_url))
        named = needs_lookup(address.rpartition(":")[0])
        server = _known[inner] = _Server(inner.base_url, address, named, watch_httpx(inner))
        inner.headers["Accept-Encoding"] = ASKED_FOR
        if _look_at not in inner.event_hooks["response"]:
            inner.event_hooks["response"].append(_look_at)
    return server


def _look_at(response: httpx.Response) -> None:
    """Called once the headers are there. The library would read the body of an error to its end, which may never come,
    and cannot take every line of a good answer.

    Raises:
        PrimaryError: this is an error, and the answer to a guarded request.
    """
    scope = current_scope()
    if scope is None:
        return
    read: Any = response
    read.iter_bytes = partial(_bytes_of, response)
    if response.status_code < 400:
        read.iter_lines = partial(_lines_of, response)
        return
    import httpx
    from ollama import ResponseError

    said = error_body(response.iter_bytes(), scope, (httpx.HTTPError, httpx.StreamError, OSError))
    error = ResponseError(decoded(said, response.headers.get("Content-Type", "")), response.status_code)
    raise _answered(error, _place(str(response.url)), response.headers)


def _bytes_of(response: httpx.Response) -> Iterator[bytes]:
    return unpacked(response.iter_raw(), response.headers.get("Content-Encoding", ""))


def _lines_of(response: httpx.Response) -> Iterator[str]:
    """Yield the lines of a reply. httpx would also split at characters of the text itself (U+0085, U+2028)."""
    for line in lines(response.iter_bytes()):
        if text := line.decode("utf-8", "replace").strip("\ufeff\0 \t"):
            yield text if _AS_USUAL(text) else _repaired(text)


def _repaired(line: str) -> str:
    """Return a line with what the library and Z-Waif need: a ``message`` with ``role`` and ``content``.

    Raises:
        PrimaryError: it is not a line of a reply at all.
    """
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return line  # the library reports it
    if not isinstance(event, dict):
        raise PrimaryError(FailureKind.UNREADABLE, "the answer is not a chat reply")
    if error := event.get("error"):
        return json.dumps({"error": error if isinstance(error, str) else message_in(error) or describe_codes(error)})
    message = event.get("message") or {}
    if not isinstance(message, dict):
        return line
    kept = {"role": message.get("role") or "assistant", "content": text_in(message.get("content")) or ""}
    return json.dumps({**event, "message": {**message, **kept}})


def _limit_connecting(inner: httpx.Client, settings: Reads) -> None:
    """Set a connect timeout: the library has none."""
    import httpx

    seconds = connect_seconds(settings, inner.base_url.host)
    inner.timeout = httpx.Timeout(inner.timeout.read, connect=seconds)


def _usage_of(part: Any) -> Usage | None:
    read, written = getattr(part, "prompt_eval_count", None), getattr(part, "eval_count", None)
    return Usage(read or None, written or None) if read or written else None


def _as_of_a_whole_reply(error: BaseException) -> BaseException:
    """Return the error of a whole reply: only in a stream does the library let httpx's own error through."""
    import httpx

    return ConnectionError(str(error)) if isinstance(error, httpx.ConnectError) else error


def failure_of(error: Exception, address: str) -> PrimaryError:
    """Translate an exception of the ``ollama`` library, or of httpx and pydantic below it."""
    if isinstance(error, PrimaryError):
        return error
    import httpx
    from ollama import ResponseError

    if isinstance(error, ResponseError):
        return _answered(error, address, {})
    if isinstance(error, httpx.DecodingError):
        return PrimaryError(FailureKind.UNREADABLE, f"the answer is not a chat reply: {_line(error)}", original=error)
    if isinstance(error, httpx.ConnectTimeout):
        return PrimaryError(FailureKind.CONNECT_TIMEOUT, f"{address} did not accept the connection", original=error)
    if isinstance(error, (httpx.ConnectError, ConnectionError)):
        return PrimaryError(FailureKind.REFUSED, f"connection refused by {address}", original=error)
    if isinstance(error, (httpx.TransportError, OSError)):
        return PrimaryError(FailureKind.CUT, f"the connection to {address} broke: {_line(error)}", original=error)
    if isinstance(error, ValueError) and getattr(error, "title", REPLY) != REPLY:
        return PrimaryError(FailureKind.MISCONFIGURED, f"the request is not valid: {_line(error)}", original=error)
    if isinstance(error, ValueError):
        return PrimaryError(FailureKind.UNREADABLE, "the answer is not a chat reply", original=error)
    return PrimaryError(FailureKind.UNKNOWN, _line(error), original=error)


def _answered(error: Any, address: str, headers: Mapping[str, str]) -> PrimaryError:
    status = error.status_code if error.status_code and error.status_code > 0 else None
    cause = f"{address} answered{f' {status}' if status else ''}: {_line(error)}"
    if status is None:
        return PrimaryError(kind_of_error(cause), cause, original=error, said=message_in(error.error))
    kind = kind_of_status(status, str(error))
    retry_after = pause_asked_for(headers) if kind is FailureKind.RATE_LIMITED else None
    return PrimaryError(
        kind, cause, status=status, retry_after=retry_after, original=error, said=message_in(error.error)
    )


def _place(url: str) -> str:
    """Return ``host:port``."""
    parts = urlsplit(url)
    if not parts.hostname:
        return DEFAULT_ADDRESS
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _asked_for(options: Any) -> int:
    """Return the longest reply that was asked for, in tokens; 0 if there is no limit."""
    asked = options.get("num_predict") if isinstance(options, Mapping) else getattr(options, "num_predict", None)
    return asked if isinstance(asked, int) and asked > 0 else 0


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__
