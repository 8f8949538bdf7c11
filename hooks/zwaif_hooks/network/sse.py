"""Reads an OpenAI-style chat reply as it really arrives: server-sent events, a JSON body, or neither."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network.server_errors import broken_off, describe_codes, is_no_reason, kind_of_error, message_in
from zwaif_hooks.network.token_counts import usage_of
from zwaif_hooks.stream import Chunk, PrimaryError, UnmarkedEnd

MAX_STRAY = 4096
"""Bytes kept of a body that is not an event stream, to report what it was."""
MOST_AT_ONCE = 16 * 1024 * 1024
"""Largest line or body in bytes: one without an end would fill the program's memory."""
_MOST_VALUES = 50_000
"""Largest number of values in one event or body."""
BOM = b"\xef\xbb\xbf"
"""Some Windows servers start with it. If it is not removed, the first piece of the reply is lost."""
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How a body in UTF-16 starts; some Windows frameworks send one."""
SPOKEN_PARTS = ("text", "output_text", None)
"""Types of ``content`` parts that belong to the reply."""
_HELD_TEXT = re.compile(rb'"content"\s*:\s*"[^"]')


def read_reply(parts: Iterable[bytes]) -> Iterator[Chunk]:
    """Read a reply in either form, whatever its Content-Type: only a JSON body starts with a brace or bracket.

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
    whole = itertools.chain([start], rest)
    if start.startswith(UTF_16):
        yield from read_body(_joined(whole).decode("utf-16", "replace").encode("utf-8", "replace"))
    elif start.lstrip().startswith((b"{", b"[")):
        yield from _body_or_bare_events(whole)
    else:
        yield from read_events(whole)


def _body_or_bare_events(parts: Iterable[bytes]) -> Iterator[Chunk]:
    """Read one JSON body, or events that are lines without ``data:`` in front."""
    rest = iter(parts)
    start = b""
    for part in rest:
        start += part
        if b"\n" in start or len(start) > MAX_STRAY:
            break
    whole = itertools.chain([start], rest)
    first = _loads(start.partition(b"\n")[0].strip())
    if "delta" in _first_choice(first):
        yield from read_events(b"data: " + line + b"\n\n" for line in lines(whole) if line)
    else:
        yield from read_body(_joined(whole))


def read_events(parts: Iterable[bytes]) -> Iterator[Chunk]:
    """Yield the chunks of a ``text/event-stream`` body, each with the event's own bytes.

    Leaves out what Z-Waif's loop cannot handle: ``[DONE]``, role-only and usage chunks, a final ``delta: {}``.

    Raises:
        UnmarkedEnd: an end without ``finish_reason`` or ``[DONE]``.
        PrimaryError: an error object, a damaged line that held text, or a body that is not an event stream. After
            anything that is not an event (a proxy's page, a traceback), ``[DONE]`` alone does not mark an end.
    """
    finished = False
    spoken: Any = None
    events, damaged, stray, named, begun = 0, 0, b"", b"", b""
    for line in lines(parts):
        if not line.startswith(b"data:"):
            if not line:
                if begun:
                    damaged += _is_lost(begun)
                    begun = b""
            elif line.startswith(b"event:"):
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
            damaged += _is_lost(begun)
            if finished:
                return
            if stray.strip(b"\0 \n"):
                raise PrimaryError(FailureKind.UNREADABLE, f"the stream broke off: {_start_of(stray)}")
            yield Chunk("", reason="stop")
            return
        event = _loads(payload)
        if event is None or begun:
            lost = begun
            event, payload, begun = _repaired(event, payload, begun)
            if event is None:
                continue
            if lost and not payload.startswith(lost):
                damaged += _is_lost(lost)
        events += 1
        if not (type(event) is dict and "error" not in event and event.get("object") != "error"):
            raise_for_error(event)
        text, reason, as_it_is = delta_of(event)
        broken = _broken_off(event)
        if broken is not None:
            reason = ""
        finished = finished or bool(reason)
        usage = usage_of(event)
        if text is not None:
            spoken = event
            yield Chunk(text, b"data: " + payload + b"\n\n" if as_it_is else None, reason, usage)
        elif reason or usage:
            yield Chunk("", reason=reason, usage=usage)
        if broken is not None:
            raise broken
    damaged += _is_lost(begun)
    if finished:
        return
    if not events and stray:
        yield from read_body(stray)
        return
    if not events and damaged:
        raise PrimaryError(FailureKind.UNREADABLE, "the stream held no readable event")
    raise UnmarkedEnd(knows_marks="finish_reason" in _first_choice(spoken))


def _repaired(event: Any, payload: bytes, begun: bytes) -> tuple[Any, bytes, bytes]:
    """Repair a ``data:`` line that is not an event by itself, or that follows an incomplete one (``begun``).

    An event may span several such lines. Bytes that are not UTF-8 are replaced, and a doubled ``data:`` is removed.

    Returns:
        The event, if it is complete now; its bytes; the incomplete part.
    """
    if begun and type(event) is dict and ("choices" in event or "error" in event):
        return event, payload, b""
    while payload.startswith(b"data:"):
        payload = payload[5:].strip()
    if not _is_utf_8(payload):
        payload = payload.decode("utf-8", "replace").encode()
    if begun:
        payload = begun + b" " + payload
        _bounded(len(payload))
    event = _loads(payload) if payload.endswith((b"}", b"]")) else None
    return event, payload, b"" if event is not None else payload


def _is_lost(begun: bytes) -> int:
    """Return whether an unreadable event was dropped.

    Raises:
        PrimaryError: the event held text.
    """
    if _HELD_TEXT.search(begun):
        raise PrimaryError(FailureKind.UNREADABLE, "a piece of the reply arrived damaged")
    return bool(begun)


def _is_utf_8(payload: bytes) -> bool:
    try:
        payload.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def _broken_off(event: Any) -> PrimaryError | None:
    """Return the error that one event, or a whole reply, reports as its end."""
    choice = _first_choice(event)
    if choice.get("error"):
        return _reported(choice)
    return broken_off(choice.get("finish_reason")) or broken_off(choice.get("native_finish_reason"))


def read_body(body: bytes) -> Iterator[Chunk]:
    """Read a whole chat completion in one JSON body.

    Raises:
        PrimaryError: it is an error object, has no text, or is not JSON.
    """
    reply = _loads(body.strip())
    if isinstance(reply, dict):
        raise_for_error(reply)
    if not isinstance(reply, dict) or (reply and "choices" not in reply):
        raise PrimaryError(FailureKind.UNREADABLE, f"the answer is not a chat reply: {_start_of(body)}")
    text = message_of(reply)
    broken = _broken_off(reply)
    if not text:
        raise broken or PrimaryError(FailureKind.EMPTY, "the reply was blank", as_it_came="")
    reason = _reason_of(_first_choice(reply))
    yield Chunk(text, reason="" if broken is not None else reason, usage=usage_of(reply))
    if broken is not None:
        raise broken


def raise_for_error(reply: Any) -> None:
    """Raise the error inside a 200 answer: ``{"error": …}``, or ``"object": "error"``."""
    if not isinstance(reply, dict):
        return
    error = reply.get("error")
    if not error and reply.get("object") != "error":
        return
    raise _reported(reply)


def _reported(payload: Any) -> PrimaryError:
    """Return the error that a payload describes, in whatever form."""
    said = message_in(payload) or describe_codes(payload)
    return PrimaryError(kind_of_error(said), f"the server reported: {said[:200]}", said=said)


def delta_of(event: Any) -> tuple[str | None, str, bool]:
    """Return text and finish reason of one stream event, and whether Z-Waif finds the same text in it.

    The text is None if the event has none.
    """
    choice = _first_choice(event)
    delta = choice.get("delta")
    content = delta.get("content") if type(delta) is dict else None
    if type(content) is str:
        return content, _reason_of(choice), event["choices"][0] is choice
    if content is None and type(delta) is not dict:
        message = choice.get("message")  # some servers send each piece as a whole reply, or as a text completion
        content = message.get("content") if type(message) is dict else choice.get("text")
    return text_in(content), _reason_of(choice), False


def message_of(reply: Any) -> str:
    """Return the text of a whole chat completion; empty if it has none."""
    choice = _first_choice(reply)
    message = choice.get("message")
    return text_in(message.get("content") if isinstance(message, dict) else choice.get("text")) or ""


def text_in(content: Any) -> str | None:
    """Return the text of a ``content``, which may be a string, a number, or a list of parts (some are thoughts)."""
    if isinstance(content, str):
        return content
    if isinstance(content, (int, float)) and not isinstance(content, bool):
        return str(content)
    if not isinstance(content, list):
        return None
    texts = [part.get("text") if isinstance(part, dict) else part for part in content if not _is_a_thought(part)]
    return "".join(text for text in texts if isinstance(text, str)) if texts else None


def _is_a_thought(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") not in SPOKEN_PARTS


def event_bytes(text: str, model: str) -> bytes:
    """Return a stream event with the fields that Z-Waif and other OpenAI clients read."""
    event = {
        "object": "chat.completion.chunk",
        "model": model,
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
    }
    return b"data: " + json.dumps(event).encode("ascii") + b"\n\n"


def completion(text: str, model: str) -> dict[str, Any]:
    """Return a whole chat completion."""
    return {
        "id": "chatcmpl-zwaif",
        "object": "chat.completion",
        "created": 0,
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def _first_choice(reply: Any) -> dict[str, Any]:
    """Return the choice with index 0, wherever it is in the list."""
    choices = reply.get("choices") if isinstance(reply, dict) else None
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and (not choice.get("index") or choice["index"] == "0"):
            return choice
    return {}


def _reason_of(choice: dict[str, Any]) -> str:
    reason = choice.get("finish_reason")
    return reason if type(reason) is str and not is_no_reason(reason) else ""


def _start_of(body: bytes) -> str:
    start = body[:60].decode("utf-8", "replace").strip()
    return f"it begins with {start!r}" if start else "it is empty"


def _loads(raw: bytes) -> Any:
    """Decode JSON; None if that fails. ``json.loads`` takes half as long again, to detect the encoding."""
    if (
        len(raw) > _MOST_VALUES and raw.count(b",") > _MOST_VALUES
    ):  # text has few commas; so many only slow the decoder down
        return None
    try:
        text = raw.decode("utf-8", "surrogatepass")
        value, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) else None


def lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a byte stream, however it was cut, and a last one without a line end. Ends: LF, CRLF or CR."""
    begun: list[bytes] = []
    size = 0
    behind_cr = False
    for part in parts:
        if behind_cr and part:
            part = part.removeprefix(b"\n")
            behind_cr = False
        if b"\r" in part:
            behind_cr = part.endswith(b"\r")
            part = part.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        found = part.split(b"\n")
        if len(found) > 1 and begun:
            begun.append(found[0])
            found[0] = b"".join(begun)
            begun, size = [], 0
        if rest := found.pop():
            begun.append(rest)
            size = _bounded(size + len(rest))
        yield from found
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
