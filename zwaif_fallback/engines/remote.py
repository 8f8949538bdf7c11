"""A second server as a source of replies: anything that speaks OpenAI's chat API, streamed.

Reading happens on a thread of its own, so that each deadline is about text, not about bytes: a server that sends
keep-alives, or empty deltas, without ever saying a word is given up on time too.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests

from zwaif_fallback.errors import EngineError
from zwaif_fallback.stops import StopFilter
from zwaif_hooks.messages import Message, Sampling

logger = logging.getLogger(__name__)

PASS_HEADER = {"X-ZWaif-Fallback": "1"}
"""Tells the guard in Z-Waif's process that this request is the fallback's own."""
KEY_VARIABLE = "API_FALLBACK_API_KEY"
_EXTRA = ("top_k", "min_p", "repetition_penalty")
"""Sampling fields that local servers know and OpenAI refuses."""
_REMEDIES = {
    401: f"check {KEY_VARIABLE}",
    403: f"check {KEY_VARIABLE}",
    404: "check API_FALLBACK_HOST and the model's name",
    429: "it is rate limited; try again later",
}


@dataclass(frozen=True)
class Deadlines:
    """Seconds: to connect, from then to the first text, and between two pieces of text."""

    connect: float = 5.0
    first_token: float = 60.0
    stall: float = 30.0


class RemoteChat:
    """One OpenAI-compatible server.

    Args:
        host: ``host:port`` or a full URL, with or without ``/v1``.
        model: the model's name there; empty takes the first chat model the server lists.
        api_key: empty takes it from the environment variable ``API_FALLBACK_API_KEY``. Never logged.

    Raises:
        EngineError: ``host`` is no address.
    """

    def __init__(self, host: str, model: str = "", *, deadlines: Deadlines | None = None, api_key: str = "") -> None:
        self.base_url = base_url(host)
        self.model = model
        self._deadlines = deadlines or Deadlines()
        self._api_key = api_key or os.environ.get(KEY_VARIABLE, "")

    def __repr__(self) -> str:
        return f"RemoteChat({self.base_url!r}, model={self.model!r})"

    def models(self) -> list[str]:
        """Names of the server's models.

        Raises:
            EngineError: it cannot be asked, or answers something else.
        """
        with self._session() as session:
            try:
                response = session.get(f"{self.base_url}/models", timeout=self._timeout(), allow_redirects=False)
                self._check(response)
                return [str(entry["id"]) for entry in response.json()["data"]]
            except (requests.RequestException, ValueError, KeyError, TypeError) as error:
                raise self._error(_cause(error)) from error

    def stream(
        self,
        messages: Sequence[Message],
        *,
        sampling: Sampling | None = None,
        stop: Sequence[str] = (),
        max_tokens: int = 300,
        partial: str = "",
    ) -> Iterator[str]:
        """The reply, piece by piece; never any part of a stop string.

        Args:
            partial: the beginning of the reply, already spoken: what comes goes on from its last character.

        Raises:
            EngineError: with the cause in one line, at any ``next``.
        """
        # Stop strings stay here: OpenAI takes four at most, transformers serve hangs on one, and others ignore them.
        body = self._body(messages, sampling or Sampling(), max_tokens, partial)
        stops = StopFilter(stop)
        for piece in self._pieces(body):
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
        return {"messages": turns, "max_tokens": max_tokens, "stream": True, **wishes}

    def _pieces(self, body: dict[str, Any]) -> Iterator[str]:
        """Pieces of text in time, from the thread that reads them."""
        reader = _Reader(self, body)
        limits = self._deadlines
        deadline = time.monotonic() + limits.connect + limits.first_token
        said = False
        try:
            while True:
                try:
                    item = reader.items.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    raise self._error(f"no text for {limits.stall if said else limits.first_token:g} s") from None
                if item is None:
                    break
                if isinstance(item, EngineError):
                    raise item
                said = True
                yield item
                deadline = time.monotonic() + limits.stall
        finally:
            reader.stop()
        if not said:
            raise self._error("the reply was empty")

    def open(self, body: dict[str, Any]) -> requests.Response:
        """The response that will be streamed. Servers that refuse our extra sampling fields are asked without them."""
        body = {**body, "model": self.model or self._first_model()}
        response = self._post(body)
        if response.status_code in (400, 422) and any(name in body for name in _EXTRA):
            response.close()
            response = self._post({name: value for name, value in body.items() if name not in _EXTRA})
        self._check(response)
        return response

    def reply(self, body: dict[str, Any]) -> Iterator[str]:
        """The pieces as they come. A server that breaks off before it has said a word of a reply that was begun is
        asked once more with the beginning told in the user's turn: ``transformers serve`` (4.57) knows no other."""
        said = False
        with self.open(body) as response:
            try:
                for piece in self.events(response):
                    said = True
                    yield piece
                return
            except (EngineError, requests.RequestException):
                if said or body["messages"][-1]["role"] != "assistant":
                    raise
        logger.info("%r does not go on with a begun reply; it is told of it instead.", self)
        with self.open({**body, "messages": _begun_told(body["messages"])}) as response:
            yield from self.events(response)

    def events(self, response: requests.Response) -> Iterator[str]:
        """Text from a response, whether it streams or answers at once."""
        if "json" in response.headers.get("Content-Type", ""):
            yield from self._text_of(response.json())
            return
        finished = False
        # Without chunks, only single bytes arrive as they are sent; larger reads wait until they are full.
        size = None if "chunked" in response.headers.get("Transfer-Encoding", "") else 1
        for raw in response.iter_lines(chunk_size=size):
            line = raw.decode("utf-8", "replace")
            if not line.startswith("data:"):
                continue
            data = line[5:].strip()
            if data == "[DONE]":
                return
            event = json.loads(data)
            finished = finished or _is_last(event)
            yield from self._text_of(event)
        if not finished:
            raise self._error("the connection ended in the middle of the reply")

    def describe(self, error: Exception) -> EngineError:
        return error if isinstance(error, EngineError) else self._error(_cause(error))

    def _text_of(self, event: Any) -> Iterator[str]:
        if not isinstance(event, dict):
            raise self._error("the answer is no chat reply")
        if error := event.get("error"):
            raise self._error(_error_text(error))
        for choice in event.get("choices") or ():
            text = ((choice.get("delta") or choice.get("message")) or {}).get("content")
            if isinstance(text, str) and text:
                yield text

    def _first_model(self) -> str:
        names = self.models()
        chat = [name for name in names if "embed" not in name.lower()]
        if not chat:
            raise self._error("it has no chat model loaded")
        self.model = chat[0]
        return self.model

    def _post(self, body: dict[str, Any]) -> requests.Response:
        session = self._session()
        return session.post(
            f"{self.base_url}/chat/completions",
            json=body,
            stream=True,
            timeout=self._timeout(),
            allow_redirects=False,  # a key must not travel to where a redirect points
        )

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.headers.update(PASS_HEADER)
        session.auth = self._authorize
        # A proxy set for the internet must not catch this machine's own servers.
        session.trust_env = not _is_local(self.base_url)
        return session

    def _authorize(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._api_key:
            request.headers["Authorization"] = f"Bearer {self._api_key}"
        return request

    def _timeout(self) -> tuple[float, float]:
        """For the socket: the reading thread ends by it, a little after the reply's own deadline."""
        limits = self._deadlines
        return limits.connect, limits.connect + max(limits.first_token, limits.stall) + 1.0

    def _check(self, response: requests.Response) -> None:
        status = response.status_code
        if 200 <= status < 300:
            return
        if status in _REMEDIES:
            raise self._error(f"HTTP {status}: {_REMEDIES[status]}")
        try:
            said = _error_text(response.json().get("error") or response.reason)
        except (ValueError, AttributeError):
            said = str(response.reason or "")
        raise self._error(f"HTTP {status} {said}".strip())

    def _error(self, cause: str) -> EngineError:
        return EngineError(f"The fallback server {urlsplit(self.base_url).netloc} gave no reply: {cause}.")


class _Reader:
    """Reads one reply on a thread of its own and hands out pieces, then None or the error."""

    def __init__(self, chat: RemoteChat, body: dict[str, Any]) -> None:
        self.items: queue.SimpleQueue[str | EngineError | None] = queue.SimpleQueue()
        self._stopped = threading.Event()
        threading.Thread(target=self._run, args=(chat, body), name="zwaif-remote", daemon=True).start()

    def stop(self) -> None:
        """Nobody reads any more: hang up at the next line."""
        self._stopped.set()

    def _run(self, chat: RemoteChat, body: dict[str, Any]) -> None:
        try:
            for piece in chat.reply(body):
                if self._stopped.is_set():
                    return
                self.items.put(piece)
            self.items.put(None)
        except Exception as error:  # whatever breaks in here is the reader's cause, in one line
            logger.debug("%r failed", chat, exc_info=True)
            self.items.put(chat.describe(error))


def base_url(host: str) -> str:
    """``http(s)://host:port/v1`` from whatever a user writes.

    Raises:
        EngineError: that is no address.
    """
    text = host.strip()
    if "://" not in text:
        text = f"http://{text}"
    parts = urlsplit(text)
    try:
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or parts.scheme not in ("http", "https") or " " in text:
        raise EngineError(f"API_FALLBACK_HOST {host!r} is no address. Write it as 127.0.0.1:5001 or https://host/v1.")
    # A server listens on 0.0.0.0, but on Windows nobody can connect there.
    name = "127.0.0.1" if name == "0.0.0.0" else f"[{name}]" if ":" in name else name
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return f"{parts.scheme}://{name}{f':{port}' if port else ''}{path}"


def _begun_told(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """The same conversation with its last turn, the beginning of a reply, told at the end of the user's turn."""
    begun = messages[-1]["content"]
    told = f"(You have already said: {begun}\nGo on from there; do not say it again.)"
    before = messages[:-1]
    if before and before[-1]["role"] == "user":
        told = f"{before.pop()['content']}\n\n{told}"
    return [*before, {"role": "user", "content": told}]


def _is_local(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def _is_last(event: Any) -> bool:
    choices = event.get("choices") if isinstance(event, dict) else None
    return any(choice.get("finish_reason") for choice in choices or ())


def _error_text(error: Any) -> str:
    text = error.get("message") if isinstance(error, dict) else error
    return " ".join(str(text or error).split())[:200]


def _cause(error: Exception) -> str:
    """One plain line; never the request, which holds the key."""
    causes = (
        (requests.exceptions.SSLError, "its certificate cannot be trusted"),
        (requests.exceptions.ConnectTimeout, "it did not accept the connection in time"),
        (requests.exceptions.ReadTimeout, "it stopped answering"),
        (requests.exceptions.ChunkedEncodingError, "the connection broke in the middle of the reply"),
        (requests.exceptions.ConnectionError, _why_no_connection(error)),
        (ValueError, "the answer is not readable"),
    )
    return next((text for kind, text in causes if isinstance(error, kind)), type(error).__name__)


def _why_no_connection(error: Exception) -> str:
    text = str(error).lower()
    if "refused" in text or "10061" in text:
        return "connection refused"
    if "resolve" in text or "getaddrinfo" in text:
        return "its name is not known"
    if "timed out" in text:
        return "it stopped answering"
    return "the connection broke"
