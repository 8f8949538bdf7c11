"""Guard of the ``lmstudio`` library: ``llm`` and ``prepare_image``, which Z-Waif looks up in the module at each call.

``lmstudio.llm`` connects at once, and after one failure its cached default client refuses every later call although the
server is back. Here the connection is made in a background thread, and a client that failed is forgotten.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from zwaif_hooks.failover import failure_messages
from zwaif_hooks.failover.background_reader import BackgroundReader
from zwaif_hooks.failover.call import Call, InternalError, NobodyAnswered, must_repeat_unguarded
from zwaif_hooks.failover.probe import NOT_LOADED
from zwaif_hooks.failover.silence import FixedLimits
from zwaif_hooks.failover.turn import Turn
from zwaif_hooks.guards import lmstudio_greeting
from zwaif_hooks.guards.changed_request import change_by_plugins
from zwaif_hooks.guards.lmstudio_client import DefaultClient, is_out_of_reach
from zwaif_hooks.guards.request import plain_messages, prompt_chars, purpose_of_caller, stop_sequences, with_context
from zwaif_hooks.guards.swap import swap
from zwaif_hooks.host.sampling import sampling_from
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ChatRequest, FailureKind, Picture, Purpose
from zwaif_hooks.network.connect import listens
from zwaif_hooks.network.server_errors import kind_of_error
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError, Usage

FAILED_STOP_REASONS = frozenset({"failed", "modelUnloaded"})
FULL_STOP_REASONS = frozenset({"eosFound", "stopStringFound"})
"""The model ended the reply itself; otherwise the reply was cut to a length."""
NEW_STOP_REASON = "`$.stopReason`"
"""Part of the library's error about a stop reason of a newer LM Studio that it does not know. The reply is complete."""
NOT_AUTHORISED = "Authentication failed"
"""How the library's error begins if the server wants another API token; it has no class for that."""
SPOKEN = "none"
"""The reasoning type of a fragment that belongs to the reply, not to a thought."""
UNSENT_IMAGE = {"name": "image.png", "identifier": "zwaif-not-sent", "fileType": "image", "sizeBytes": 0}
"""Takes the place of a picture that the server could not take; only a fallback ever sees it. ``name`` is its path."""


def install(module: ModuleType, runtime: Runtime) -> None:
    """Replace ``llm`` and ``prepare_image`` of the module ``lmstudio``."""
    library = DefaultClient(module)

    def make_llm(original: Callable[..., Any]) -> Callable[..., Any]:
        def llm(model_key: str | None = None, /, **kwargs: Any) -> Any:
            if not runtime.enabled:
                return original(model_key, **kwargs)
            return GuardedModel(library, lambda: original(model_key, **kwargs), model_key or "", runtime)

        return llm

    def make_prepare(original: Callable[..., Any]) -> Callable[..., Any]:
        def prepare_image(src: Any, name: str | None = None) -> Any:
            if not runtime.enabled:
                return original(src, name)
            return _prepared(library, lambda: original(src, name), src, runtime)

        return prepare_image

    swap(module, "llm", make_llm, {"model_key"})
    swap(module, "prepare_image", make_prepare, {"src", "name"})
    lmstudio_greeting.install(module, runtime)


class GuardedModel:
    """Takes the place of ``lmstudio.LLM``: connects when it is asked something, in a background thread."""

    def __init__(self, library: DefaultClient, connect: Callable[[], Any], key: str, runtime: Runtime) -> None:
        self._library = library
        self._connect = connect
        self._key = key
        self._runtime = runtime

    def respond(self, history: Any, *, config: Any = None, **kwargs: Any) -> Any:
        if kwargs:
            return self._connect().respond(history, config=config, **kwargs)
        try:
            reply = self._exchange(history, config, stream=False).whole()
        except Exception as error:
            if not must_repeat_unguarded(error, self._runtime):
                raise
            return self._connect().respond(history, config=config)
        _fix_hard_summary(str(reply))
        return reply

    def respond_stream(self, history: Any, *, config: Any = None, **kwargs: Any) -> Any:
        if kwargs:
            return self._connect().respond_stream(history, config=config, **kwargs)
        without_us = partial(self._unguarded_stream, history, config)
        try:
            return GuardedStream(self._exchange(history, config, stream=True).turn(), without_us)
        except Exception as error:
            if not must_repeat_unguarded(error, self._runtime):
                raise
            return without_us()

    def _unguarded_stream(self, history: Any, config: Any) -> Any:
        return self._connect().respond_stream(history, config=config)

    def _exchange(self, history: Any, config: Any, stream: bool) -> _Exchange:
        return _Exchange(self._library, self._connect, self._key, history, config, stream, self._runtime)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connect(), name)


class Reply(str):
    """A whole reply: the text, with the attributes of ``lmstudio.PredictionResult``.

    Z-Waif takes ``.content`` in one place, and in another passes the object itself to ``html.unescape``, which fails
    with the library's own object and returns a text without ``&`` unchanged. ``"&" in reply`` is true, so it returns a
    plain ``str``: a subclass in the history could not be encoded when the library sends it.
    """

    result: Any = None

    @property
    def content(self) -> str:
        return str(self)

    def __contains__(self, part: Any) -> bool:
        return part == "&" or super().__contains__(part)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.result, name)


class Fragment:
    """A piece of text with the fields of ``lmstudio.LlmPredictionFragment``."""

    def __init__(self, content: str) -> None:
        self.content = content
        self.tokens_count = 1
        self.contains_drafted = False
        self.reasoning_type = "none"


class GuardedStream:
    """Takes the place of ``lmstudio.PredictionStream``."""

    def __init__(self, turn: Turn, without_us: Callable[[], Iterable[Any]]) -> None:
        self._turn = turn
        self._said: list[str] = []
        self._fragments = _fragments(
            turn, self._said, without_us
        )  # a function, because a method would keep a dropped stream alive

    def __iter__(self) -> Iterator[Any]:
        return self._fragments

    def __enter__(self) -> GuardedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cancel(self) -> None:
        self._turn.abandon()

    def close(self) -> None:
        self._turn.abandon()

    def result(self) -> Reply:
        for _ in self._fragments:
            continue
        return Reply("".join(self._said))

    def wait_for_result(self) -> Reply:
        return self.result()


def _fragments(turn: Turn, said: list[str], without_us: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    """Yield the reply as the library's fragments, and add its text to ``said``."""
    try:
        for chunk in turn.chunks():
            said.append(chunk.text)
            yield chunk.native if chunk.native is not None else Fragment(chunk.text)
    except NobodyAnswered as nobody:
        raise nobody.original() from None
    except InternalError:
        for fragment in without_us():
            said.append(fragment.content)
            yield fragment
    finally:
        turn.abandon()


class _Exchange:
    def __init__(
        self,
        library: DefaultClient,
        connect: Callable[[], Any],
        key: str,
        history: Any,
        config: Any,
        stream: bool,
        runtime: Runtime,
    ) -> None:
        self._library = library
        self._connect = connect
        self._key = key
        self._history = history
        self._config = config
        self._stream = stream
        self._runtime = runtime
        self._purpose = purpose_of_caller()
        self._address = library.address()
        self._result: Any = None
        self._described: ChatRequest | None = None

    def whole(self) -> Reply:
        try:
            text = "".join(chunk.text for chunk in self.turn().chunks())
        except NobodyAnswered as nobody:
            raise nobody.original() from None
        reply = Reply(text)
        reply.result = self._result
        return reply

    def turn(self) -> Turn:
        self._let_plugins_change_it()
        call = Call(self._address, self._read, self._probe, self._describe, "lmstudio", self._prompt_chars)
        return Turn(call, self._runtime).start()

    def _let_plugins_change_it(self) -> None:
        change = change_by_plugins(self._runtime, self._describe)
        if change is None:
            return
        self._history = {"messages": change.messages(_messages(self._history))}
        if isinstance(self._config, Mapping) or self._config is None:
            self._config = change.options(self._config or {})
        self._described = change.after

    def _prompt_chars(self) -> int:
        return prompt_chars(_turns(self._history))

    def _read(self, scope: CancelScope) -> Iterator[Chunk]:
        yield from self._ask(self._history, self._config, scope)

    def _probe(self, scope: CancelScope) -> Iterator[Chunk]:
        """Ask for one token, but never from a model that the user has unloaded: asking would load it again."""
        scope.on_cancel(self._library.doubted())
        unloaded = self._library.has_unloaded(self._key)
        self._library.heard()
        if unloaded and not self._runtime.primaries.get(self._address).may_load():
            yield NOT_LOADED
            return
        yield from self._ask("Hi", {"maxTokens": 1}, scope)

    def _ask(self, history: Any, config: Any, scope: CancelScope) -> Iterator[Chunk]:
        return _asked_again(lambda: self._asked(history, config, scope), self._library, scope)

    def _asked(self, history: Any, config: Any, scope: CancelScope) -> Iterator[Chunk]:
        begun = False
        try:
            with self._library.used():
                stream = self._connect().respond_stream(history, config=config)
                begun = True
                stream.start()  # the library's cancel does nothing before there is a channel
                scope.on_cancel(stream.cancel)
                for fragment in stream:
                    self._library.heard()
                    if getattr(fragment, "reasoning_type", SPOKEN) == SPOKEN:
                        yield Chunk(fragment.content or "", fragment)
                self._result = stream.result()
        except Exception as error:
            if NEW_STOP_REASON in str(error):
                yield Chunk("", reason="stop")
                return
            raise failure_of(error, begun) from error
        stats = getattr(self._result, "stats", None)
        reason = getattr(stats, "stop_reason", "")
        if reason in FAILED_STOP_REASONS:
            raise PrimaryError(FailureKind.CUT, f"LM Studio stopped in the middle of the reply ({reason})")
        read, made = (getattr(stats, name, None) for name in ("prompt_tokens_count", "predicted_tokens_count"))
        yield Chunk("", reason="stop" if reason in FULL_STOP_REASONS else "length", usage=Usage(read, made))

    def _describe(self) -> ChatRequest:
        if self._described is not None:
            return self._described
        config = self._config if isinstance(self._config, Mapping) else {}
        turns = _turns(self._history)
        messages, pictured = plain_messages(turns)
        budget = config.get("maxTokens")
        request = ChatRequest(
            backend="lmstudio",
            messages=messages,
            max_tokens=budget if isinstance(budget, int) and budget > 0 else DEFAULT_MAX_TOKENS,
            stop=stop_sequences(config.get("stopStrings")),
            sampling=sampling_from("lmstudio", config, self._runtime.tree),
            stream=self._stream,
            has_image=pictured or self._purpose is Purpose.IMAGE,
            picture=_picture_in(turns, self._runtime.tree),
            model=self._key,
            primary=self._address,
        )
        return with_context(request, self._runtime, self._purpose)


def _asked_again(ask: Callable[[], Iterator[Chunk]], library: DefaultClient, scope: CancelScope) -> Iterator[Chunk]:
    """Yield what ``ask`` yields, through a new connection if the kept one is dead (LM Studio was restarted)."""
    kept = library.is_kept()
    try:
        yield from ask()
        return
    except PrimaryError as error:
        if error.kind is not FailureKind.REFUSED or not kept or scope.cancelled:
            raise
    yield from ask()


def failure_of(error: BaseException, begun: bool = False) -> PrimaryError:
    """Translate an exception of the ``lmstudio`` library (matched by name, so that nothing is imported).

    Once a prediction has ``begun``, an exception that means "cannot be reached" means a broken reply.
    """
    if isinstance(error, PrimaryError):
        return error
    name = type(error).__name__
    line = " ".join(str(error).split())[:160]
    kind = kind_of_error(line)
    if is_out_of_reach(error):
        kind = FailureKind.CUT if begun else FailureKind.REFUSED
    if name in ("LMStudioTimeoutError", "ReadTimeout"):
        kind = FailureKind.FIRST_TOKEN_TIMEOUT
    if name in ("LMStudioModelNotFoundError", "LMStudioPresetNotFoundError") or line.startswith(NOT_AUTHORISED):
        kind = FailureKind.MISCONFIGURED
    if name in ("LMStudioChannelClosedError", "ReadError", "RemoteProtocolError"):
        kind = FailureKind.CUT
    return PrimaryError(kind, f"LM Studio: {line or name}", original=error, said=line)


def _prepared(library: DefaultClient, prepare: Callable[[], Any], src: Any, runtime: Runtime) -> Any:
    """Give the server a picture; return ``UNSENT_IMAGE`` if it does not take it in time."""
    unsent = {**UNSENT_IMAGE, "name": os.fspath(src)} if isinstance(src, (str, os.PathLike)) else UNSENT_IMAGE
    primary = runtime.primaries.get(library.address())
    if primary.is_open or not listens(primary.name):
        return unsent

    def asked() -> Iterator[Chunk]:
        try:
            with library.used():
                sent = prepare()
        except Exception as error:
            raise failure_of(error) from error
        yield Chunk("sent", sent)

    def source(scope: CancelScope) -> Iterator[Chunk]:
        return _asked_again(asked, library, scope)

    pump = BackgroundReader(source, runtime.clock)
    pump.start()
    limit = runtime.settings.get("API_FALLBACK_FIRST_TOKEN_TIMEOUT")
    try:
        chunk = pump.take(FixedLimits(limit, limit))
    except PrimaryError as error:
        runtime.say(f"LM Studio did not accept the picture: it {failure_messages.what(error)}")
        return unsent
    return unsent if chunk is None else chunk.native


def _messages(history: Any) -> list[Any]:
    """Return the messages of an ``lmstudio.Chat`` (or of what one is made from) in the library's own form."""
    if isinstance(history, str):
        return [{"role": "user", "content": history}]
    read = getattr(history, "_get_history_for_prediction", None)
    if read is not None:
        history = read()
        history = history.to_dict() if hasattr(history, "to_dict") else history
    return list(history.get("messages", ())) if isinstance(history, Mapping) else []


def _turns(history: Any) -> list[dict[str, Any]]:
    """Return the messages as role and text parts."""
    return [_turn_of(message) for message in _messages(history)]


def _turn_of(message: Any) -> dict[str, Any]:
    parts = message.get("content")
    if isinstance(parts, list):
        parts = [{**part, "type": "image"} if part.get("type") == "file" else part for part in parts]
    return {"role": message.get("role"), "content": parts}


def _picture_in(turns: Sequence[Mapping[str, Any]], tree: Path) -> Picture | None:
    """Return the picture of the last message. The server's handle has only its name; the file is in Z-Waif's folder."""
    parts = turns[-1].get("content") if turns else None
    names = [part.get("name") for part in parts if part.get("type") == "image"] if isinstance(parts, list) else []
    return Picture(path=str(tree / names[-1])) if names and isinstance(names[-1], str) else None


def _fix_hard_summary(text: str) -> None:
    """Fix v1.15's summaries by LM Studio: it stores the text in a local name, uses the stale global and never ends."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(6):
        if frame is None:
            return
        if frame.f_code.co_name == "summary_memory_run_hard" and "received_message" in frame.f_globals:
            frame.f_globals["received_message"] = text
            return
        frame = frame.f_back
