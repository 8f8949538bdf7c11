"""An OpenAI-style chat reply as it really arrives: server-sent events, or a plain JSON body, or neither."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from zwaif_hooks.guards.answers import broken_off, is_no_reason, kind_of_error, words_in
from zwaif_hooks.messages import FailureKind
from zwaif_hooks.pump import Chunk, PrimaryError
from zwaif_hooks.usage import usage_of

MAX_STRAY = 4096
"""Bytes of a body that is no event stream which are kept, to say what it was."""
MOST_AT_ONCE = 16 * 1024 * 1024
"""Bytes of one line or one body: whoever never ends it would fill the memory of the whole program."""
_MOST_VALUES = 50_000
"""In one event or body."""
BOM = b"\xef\xbb\xbf"
"""Some Windows servers begin with it; what is not known for one would cost the first piece of the reply."""
_HELD_TEXT = re.compile(rb'"content"\s*:\s*"[^"]')


def read_reply(parts: Iterable[bytes]) -> Iterator[Chunk]:
    """Whatever the server calls it: a JSON body begins with a brace, and an event stream never does.

    Raises:
        PrimaryError: as ``read_events`` and ``read_body``.
    """
    rest = iter(parts)
    start = b""
    for part in rest:
        start = (start + part).lstrip()
        if len(start) >= len(BOM):
            break
    start = start.removeprefix(BOM)
    if start.lstrip().startswith((b"{", b"[")):
        yield from read_body(_joined(itertools.chain([start], rest)))
    else:
        yield from read_events(itertools.chain([start], rest))


def read_events(parts: Iterable[bytes]) -> Iterator[Chunk]:
    """Chunks of a ``text/event-stream`` body, each with the event's own bytes.

    Leaves out what Z-Waif's loop cannot take: ``[DONE]``, role-only and usage chunks, a final ``delta: {}``.

    Raises:
        PrimaryError: an error object, a damaged line that held text, a body that is no event stream, or an end without
            ``finish_reason`` or ``[DONE]``. Behind what is no event (a proxy's page, a traceback) ``[DONE]`` alone is
            no end either.
    """
    finished = False
    events, damaged, stray, named = 0, 0, b"", b""
    for line in _lines(parts):
        if not line.startswith(b"data:"):
            if line.startswith(b"event:"):
                named = line[6:].strip()
            elif line.startswith(b"error:"):  # llama.cpp's
                raise _reported(line[6:].strip())
            elif not line.startswith((b":", b"id:", b"retry:")) and len(stray) < MAX_STRAY:
                if events:
                    raise_for_error(_loads(line))
                stray += line[:MAX_STRAY] + b"\n"
            continue
        payload = line[5:].strip()
        if named == b"error":
            raise _reported(payload)
        if payload == b"[DONE]":
            if finished:
                return
            if stray.strip(b"\0 \n"):
                raise PrimaryError(FailureKind.UNREADABLE, f"the stream broke off: {_start_of(stray)}")
            yield Chunk("", reason="stop")
            return
        event = _loads(payload)
        if event is None:
            damaged += 1
            if _HELD_TEXT.search(payload):
                raise PrimaryError(FailureKind.UNREADABLE, "a piece of the reply arrived damaged")
            continue
        events += 1
        if not (type(event) is dict and "error" not in event and event.get("object") != "error"):
            raise_for_error(event)
        text, reason, as_it_is = delta_of(event)
        broken = broken_off(reason) if reason else None
        if broken is not None:
            reason = ""
        finished = finished or bool(reason)
        usage = usage_of(event)
        if text is not None:
            yield Chunk(text, b"data: " + payload + b"\n\n" if as_it_is else None, reason, usage)
        elif reason or usage:
            yield Chunk("", reason=reason, usage=usage)
        if broken is not None:
            raise broken
    if finished:
        return
    if not events and stray:
        yield from read_body(stray)
        return
    if not events and damaged:
        raise PrimaryError(FailureKind.UNREADABLE, "the stream held no readable event")
    raise PrimaryError(FailureKind.CUT, "the stream ended before the reply was finished")


def read_body(body: bytes) -> Iterator[Chunk]:
    """A whole chat completion in one JSON body.

    Raises:
        PrimaryError: it is an error object, has no text, or is no JSON at all.
    """
    reply = _loads(body.strip())
    if not isinstance(reply, dict):
        raise PrimaryError(FailureKind.UNREADABLE, f"the answer is not a chat reply: {_start_of(body)}")
    raise_for_error(reply)
    text = message_of(reply)
    if not text:
        raise PrimaryError(FailureKind.EMPTY, "the reply was blank")
    reason = _reason_of(_her_choice(reply))
    broken = broken_off(reason)
    yield Chunk(text, reason="" if broken is not None else reason, usage=usage_of(reply))
    if broken is not None:
        raise broken


def raise_for_error(reply: Any) -> None:
    """Servers report errors inside a 200 answer, as ``{"error": …}`` or with ``"object": "error"``."""
    if not isinstance(reply, dict):
        return
    error = reply.get("error")
    if not error and reply.get("object") != "error":
        return
    message = error.get("message") if isinstance(error, dict) else error or reply.get("message")
    raise _reported(message)


def _reported(payload: Any) -> PrimaryError:
    """What is sent under the name of an error, in whatever form."""
    said = words_in(payload) or "an error, without a word"
    return PrimaryError(kind_of_error(said), f"the server reported: {said[:200]}", said=said)


def delta_of(event: Any) -> tuple[str | None, str, bool]:
    """Text and finish reason of one stream event, and whether Z-Waif finds the same text in it.

    Text is None where the event has none.
    """
    choice = _her_choice(event)
    delta = choice.get("delta")
    text = delta.get("content") if type(delta) is dict else None
    if type(text) is not str:
        return None, _reason_of(choice), False
    return text, _reason_of(choice), event["choices"][0] is choice


def message_of(reply: Any) -> str:
    """Text of a whole chat completion, empty where it has none."""
    message = _her_choice(reply).get("message")
    text = message.get("content") if isinstance(message, dict) else None
    return text if isinstance(text, str) else ""


def event_bytes(text: str, model: str) -> bytes:
    """One stream event of ours, with the fields that Z-Waif and other OpenAI clients read."""
    event = {
        "object": "chat.completion.chunk",
        "model": model,
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
    }
    return b"data: " + json.dumps(event).encode("ascii") + b"\n\n"


def completion(text: str, model: str) -> dict[str, Any]:
    """One whole chat completion of ours."""
    return {
        "id": "chatcmpl-zwaif",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def _her_choice(reply: Any) -> dict[str, Any]:
    """The first of the replies that a server may give side by side, wherever in the list it stands."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and not choice.get("index"):
            return choice
    return {}


def _reason_of(choice: dict[str, Any]) -> str:
    reason = choice.get("finish_reason")
    return reason if type(reason) is str and not is_no_reason(reason) else ""


def _start_of(body: bytes) -> str:
    start = body[:60].decode("utf-8", "replace").strip()
    return f"it begins with {start!r}" if start else "it is empty"


def _loads(raw: bytes) -> Any:
    """As ``json.loads``, which takes half as long again to find out that it is UTF-8; None where that fails."""
    if len(raw) > _MOST_VALUES and raw.count(b",") > _MOST_VALUES:  # Words are long; only numbers take so long to read.
        return None
    try:
        text = raw.decode("utf-8", "surrogatepass")
        value, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) else None


def _lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a byte stream that are not empty, however it was cut; the last one also without a line end."""
    begun: list[bytes] = []
    size = 0
    for part in parts:
        if b"\r" in part:
            part = part.replace(b"\r", b"\n")
        lines = part.split(b"\n")
        if len(lines) > 1 and begun:
            begun.append(lines[0])
            lines[0] = b"".join(begun)
            begun, size = [], 0
        if rest := lines.pop():
            begun.append(rest)
            size = _bounded(size + len(rest))
        yield from filter(None, lines)
    if begun:
        yield b"".join(begun)


def _joined(parts: Iterable[bytes]) -> bytes:
    kept: list[bytes] = []
    size = 0
    for part in parts:
        kept.append(part)
        size = _bounded(size + len(part))
    return b"".join(kept)


def _bounded(size: int) -> int:
    if size > MOST_AT_ONCE:
        raise PrimaryError(FailureKind.UNREADABLE, f"{size >> 20} MB of the answer, and no reply in it")
    return size


_decode = json.JSONDecoder().raw_decode
