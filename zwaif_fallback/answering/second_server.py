"""A second server as a source of replies: anything that speaks OpenAI's chat API, streamed.

It is read like the primary, with the same reader: deadlines apply to text, not to bytes, and the connection to a server
that misses one is closed.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import requests

from zwaif_fallback.addresses import NAME, no_farther_than, refusal, trusts
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_fallback.errors import EngineError
from zwaif_fallback.reply_stream import ReplyStream
from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.end_history import EndHistory
from zwaif_hooks.failover.silence import FixedLimits
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, FailureKind, Message, Sampling
from zwaif_hooks.network.addresses import Place, looked_up, place
from zwaif_hooks.network.openai_client import read_reply, read_whole
from zwaif_hooks.network.requests_adapter import watched_session
from zwaif_hooks.reply.continuation import SurrogateJoiner
from zwaif_hooks.reply.endless import length_limit, should_end
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, UnmarkedEnd

logger = logging.getLogger(__name__)

PASS_HEADER = {"X-ZWaif-Fallback": "1"}
"""Tells the guard in Z-Waif's process that this request is the fallback's own."""
KEY_VARIABLE = "API_FALLBACK_API_KEY"
PIECES_BUFFERED = 1024
"""Maximum pieces buffered while Z-Waif speaks earlier ones."""
LONGEST_LIST = 1_000_000
"""Bytes of a list of models."""
_EXTRA = ("top_k", "min_p", "repetition_penalty", "chat_template_kwargs")
"""Fields that local servers accept and OpenAI refuses."""
_refusing: set[tuple[str, str]] = set()
"""Address and model of servers that refused these fields and answered without them, in this process."""
_UNTHINKING = {"enable_thinking": False}
"""For the chat template (vLLM, SGLang, llama.cpp): thoughts are not spoken, and would use up the reply's tokens."""
WANTS_KEY = (401, 403)
_REMEDIES = {
    404: "check API_FALLBACK_HOST and the model's name",
    429: "it is rate limited; try again later",
}


@dataclass(frozen=True)
class Deadlines:
    """Seconds to connect, from then to the first text, and between two pieces of text."""

    connect: float = 5.0
    first_token: float = 60.0
    stall: float = 30.0


class SecondServerClient:
    """One OpenAI-compatible server.

    Args:
        host: ``host:port`` or a full URL, with or without ``/v1``.
        model: the model's name there; empty takes the first chat model the server lists.
        api_key: sent to a trusted host only, over https or to this machine. Never logged.
        trusted: the user set the host by hand. Others are only asked on this machine or in the private network.

    Raises:
        EngineError: ``host`` is not an address, or must not be asked.
    """

    def __init__(
        self,
        host: str,
        model: str = "",
        *,
        deadlines: Deadlines | None = None,
        api_key: str = "",
        trusted: bool = False,
        clock: Clock | None = None,
    ) -> None:
        self.base_url = base_url(host)
        self.model = model
        parts = urlsplit(self.base_url)
        self._address, self._name = parts.netloc, parts.hostname or ""
        self._deadlines = deadlines or Deadlines()
        self._clock = clock or SystemClock()
        self._trusted, self._is_safe = trusted, parts.scheme == "https"
        where, limit = place(self._name), Place.ELSEWHERE if trusted else Place.PRIVATE
        if where is not None and where > limit:
            raise EngineError(f"The second server {self._address} is not asked: {refusal(where, limit)}.")
        self._has_key = bool(api_key)
        self._key = api_key if trusted and (self._is_safe or where is Place.THIS_MACHINE) else ""
        # An unencrypted key stays on this machine even if "localhost" resolves to another one.
        self._refuse = no_farther_than(Place.THIS_MACHINE if self._key and not self._is_safe else limit)

    def __repr__(self) -> str:
        return f"SecondServerClient({self.base_url!r}, model={self.model!r})"

    def models(self, seconds: float | None = None) -> list[str]:
        """Return the names of the server's models, within ``seconds`` (default: the deadline of a reply's first text).

        Raises:
            EngineError: the server cannot be asked, or answers something else.
        """
        limits = self._deadlines
        try:
            return self._models(CancelScope(), limits.connect + limits.first_token if seconds is None else seconds)
        except PrimaryError as error:
            raise self._failure(error) from error

    def stream(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        max_tokens: int = DEFAULT_MAX_TOKENS,
        partial: str = "",
    ) -> ReplyStream:
        """Return the pieces of the reply, without stop strings. Closing it, from any thread, closes the connection.

        Args:
            partial: the beginning of the reply, already spoken; the pieces continue from its last character.

        Raises:
            EngineError: from any ``next``, with the cause in one line.
        """
        # Stop strings are applied here: OpenAI accepts only four, transformers serve hangs on one, others ignore them.
        body = self._body(messages, sampling or Sampling(), max_tokens, partial)
        return ReplyStream(lambda scope: self._spoken(body, stop, scope))

    def _spoken(self, body: dict[str, Any], stop: Sequence[str], scope: CancelScope) -> Generator[str, None, None]:
        stops = StopFilter(stop)
        for piece in self._pieces(body, scope):
            if text := stops.feed(piece):
                yield text
            if stops.stopped:
                return
        if text := stops.flush():
            yield text

    def _body(self, messages: Sequence[Message], sampling: Sampling, max_tokens: int, partial: str) -> dict[str, Any]:
        turns = [{"role": message.role, "content": message.content} for message in messages]
        if partial:
            turns.append({"role": "assistant", "content": partial})
        wishes = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "top_k": sampling.top_k,
            "min_p": sampling.min_p,
            "repetition_penalty": sampling.repetition_penalty,
            "frequency_penalty": sampling.frequency_penalty,
            "presence_penalty": sampling.presence_penalty,
            "seed": sampling.seed if sampling.seed is not None and sampling.seed >= 0 else None,
        }
        wishes = {name: value for name, value in wishes.items() if value is not None}
        return {
            "messages": turns,
            "max_tokens": max_tokens,
            "stream": True,
            **wishes,
            "chat_template_kwargs": _UNTHINKING,
        }

    def _pieces(self, body: dict[str, Any], scope: CancelScope) -> Iterator[str]:
        """Yield text within the deadlines, in the thread that reads it."""
        limits, limit = self._deadlines, length_limit(int(body["max_tokens"]))
        patience = FixedLimits(limits.connect + limits.first_token, limits.stall)
        whole, said = SurrogateJoiner(), ""
        pump = BackgroundReader(partial(self._reply, body), self._clock, capacity=PIECES_BUFFERED)
        pump.start()
        scope.on_cancel(pump.abandon)
        try:
            while (chunk := pump.take(patience)) is not None:
                if text := whole.feed(chunk.text):
                    said += text
                    yield text
                    if should_end(len(said), text, limit):
                        logger.debug("%r did not end its reply, which was ended after %d characters.", self, len(said))
                        return
        except UnmarkedEnd as end:
            if not scope.cancelled and not EndHistory().is_whole(said, end, lambda: False):
                raise self._failure(end) from end
        except PrimaryError as error:
            if not scope.cancelled:
                raise self._failure(error) from error
        finally:
            pump.abandon()
        if not said and not scope.cancelled:
            raise self._error("the reply was empty")

    def _reply(self, body: dict[str, Any], scope: CancelScope) -> Iterator[Chunk]:
        """Yield the reply.

        If the server fails to continue a reply before the first word, ask once more with the beginning quoted in the
        user's turn: ``transformers serve`` (4.57) cannot continue an assistant's turn.
        """
        said = False
        try:
            for chunk in self._asked(body, scope):
                said = said or bool(chunk.text)
                yield chunk
            return
        except PrimaryError:
            if said or body["messages"][-1]["role"] != "assistant":
                raise
        logger.debug("%r cannot continue a reply; its beginning is quoted instead.", self)
        yield from self._asked({**body, "messages": _begun_told(body["messages"])}, scope)

    def _asked(self, body: dict[str, Any], scope: CancelScope) -> Iterator[Chunk]:
        """Yield the reply; leave out sampling fields that the server refuses, next time from the start."""
        model = self.model or self._first_model(scope)
        asked = (self.base_url, model)
        body = {**body, "model": model}
        plain = {name: value for name, value in body.items() if name not in _EXTRA}
        if asked not in _refusing:
            try:
                yield from self._streamed(body, scope)
                return
            except PrimaryError as error:
                if error.status not in (400, 422) or body == plain:
                    raise
        for chunk in self._streamed(plain, scope):
            _refusing.add(asked)
            yield chunk

    def _streamed(self, body: dict[str, Any], scope: CancelScope) -> Iterator[Chunk]:
        return read_reply(partial(self._send, "POST", "/chat/completions", json=body), self._address, scope)

    def _models(self, scope: CancelScope, seconds: float) -> list[str]:
        scope.expire_in(seconds)
        body = read_whole(partial(self._send, "GET", "/models"), self._address, scope, LONGEST_LIST)
        try:
            return [str(entry["id"]) for entry in json.loads(body)["data"]]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise PrimaryError(FailureKind.UNREADABLE, "its list of models is not readable") from error

    def _first_model(self, scope: CancelScope) -> str:
        listing = CancelScope()
        scope.on_cancel(listing.cancel)
        names = self._models(listing, self._deadlines.connect + self._deadlines.first_token)
        chat = [name for name in names if "embed" not in name.lower()]
        if not chat:
            raise PrimaryError(FailureKind.NO_MODEL, "it has no chat model loaded")
        self.model = chat[0]
        return self.model

    def _send(self, method: str, path: str, **more: Any) -> requests.Response:
        return self._session().request(
            method,
            f"{self.base_url}{path}",
            stream=True,
            timeout=(self._deadlines.connect, self._deadlines.first_token),
            allow_redirects=False,  # a redirect must not get the key
            **more,
        )

    def _session(self) -> requests.Session:
        session = watched_session(requests.Session(), self._refuse)
        session.headers.update(PASS_HEADER)
        session.headers["Accept-Encoding"] = "identity"
        session.auth = self._authorize
        # An internet proxy must not get requests for servers nearby, nor see unencrypted ones.
        session.trust_env = self._trusted and self._is_safe and looked_up(self._name) in (None, Place.ELSEWHERE)
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _failure(self, error: PrimaryError) -> EngineError:
        """Return the error for the user. It must not contain the request, which holds the key."""
        if error.status in WANTS_KEY:
            return self._error(f"HTTP {error.status}: {self.key_remedy()}")
        if error.status in _REMEDIES:
            return self._error(f"HTTP {error.status}: {_REMEDIES[error.status]}")
        if isinstance(error.original, requests.exceptions.SSLError):
            return self._error("its certificate cannot be trusted")
        is_a_library_s = error.original is not None or error.status is not None
        return self._error(f"it {failure_messages.what(error)}" if is_a_library_s else error.cause)

    def key_remedy(self) -> str:
        """Return what to do if the server needs a key or refuses this one; a sentence without its full stop."""
        if self._has_key and not self._trusted:
            return (
                f"{KEY_VARIABLE} is another host's, and this one was not named by hand. "
                f"To send it here: zwaif-fallback settings set API_FALLBACK_HOST {self.base_url}"
            )
        if self._has_key and not self._key:
            return f"{KEY_VARIABLE} is not sent over plain http. Use https://, or an SSH tunnel from this machine"
        return f"check {KEY_VARIABLE}"

    def _error(self, cause: str) -> EngineError:
        return EngineError(f"The second server {self._address} gave no reply: {cause}.")


def second_server(
    setting: Callable[[str], Any], host: str, model: str, deadlines: Deadlines | None = None
) -> SecondServerClient:
    """Return the server at ``host``, trusted as the settings say, with the key from the environment.

    Raises:
        EngineError: ``host`` is not an address, or must not be asked.
    """
    key = os.environ.get(KEY_VARIABLE, "")
    return SecondServerClient(host, model, deadlines=deadlines, api_key=key, trusted=trusts(setting, host))


def base_url(host: str) -> str:
    """Return ``http(s)://host:port/v1`` for an address as a user writes it.

    Raises:
        EngineError: ``host`` is not an address.
    """
    text = host.strip()
    if "://" not in text:
        text = f"http://{text}"
    parts = urlsplit(text)
    try:
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or not NAME.fullmatch(name) or parts.scheme not in ("http", "https") or " " in text:
        raise EngineError(
            f"API_FALLBACK_HOST {host!r} is not an address. Write it as 127.0.0.1:5001 or https://host/v1."
        )
    # Servers listen on 0.0.0.0, but on Windows a client cannot connect to it.
    name = "127.0.0.1" if name == "0.0.0.0" else f"[{name}]" if ":" in name else name
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{path}"


def _begun_told(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the conversation with its last turn, the beginning of a reply, quoted at the end of the user's turn."""
    begun = messages[-1]["content"]
    told = f"(You have already said: {begun}\nGo on from there; do not say it again.)"
    before = messages[:-1]
    if before and before[-1]["role"] == "user":
        told = f"{before.pop()['content']}\n\n{told}"
    return [*before, {"role": "user", "content": told}]
