"""An OpenAI-style chat reply as it really arrives: server-sent events, or a plain JSON body, or neither."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network.server_errors import broken_off, codes_in, is_no_reason, kind_of_error, words_in
from zwaif_hooks.network.token_counts import usage_of
from zwaif_hooks.stream import Chunk, PrimaryError, UnmarkedEnd

MAX_STRAY = 4096
"""Bytes of a body that is no event stream which are kept, to say what it was."""
MOST_AT_ONCE = 16 * 1024 * 1024
"""Bytes of one line or one body: whoever never ends it would fill the memory of the whole program."""
_MOST_VALUES = 50_000
"""In one event or body."""
BOM = b"\xef\xbb\xbf"
"""Some Windows servers begin with it; what is not known for one would cost the first piece of the reply."""
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""What a body in UTF-16 begins with; some frameworks of Windows write one."""
SPOKEN_PARTS = ("text", "output_text", None)
"""Types of the parts of a ``content`` that are words of the reply."""
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
    whole = itertools.chain([start], rest)
    if start.startswith(UTF_16):
        yield from read_body(_joined(whole).decode("utf-16", "replace").encode("utf-8", "replace"))
    elif start.lstrip().startswith((b"{", b"[")):
        yield from _body_or_bare_events(whole)
    else:
        yield from read_events(whole)


def _body_or_bare_events(parts: Iterable[bytes]) -> Iterator[Chunk]:
    """One JSON body, or an event a line without ``data:`` in front of it."""
    rest = iter(parts)
    start = b""
    for part in rest:
        start += part
        if b"\n" in start or len(start) > MAX_STRAY:
            break
    whole = itertools.chain([start], rest)
    first = _loads(start.partition(b"\n")[0].strip())
    if "delta" in _her_choice(first):
        yield from read_events(b"data: " + line + b"\n\n" for line in lines(whole) if line)
    else:
        yield from read_body(_joined(whole))


def read_events(parts: Iterable[bytes]) -> Iterator[Chunk]:
    """Chunks of a ``text/event-stream`` body, each with the event's own bytes.

    Leaves out what Z-Waif's loop cannot take: ``[DONE]``, role-only and usage chunks, a final ``delta: {}``.

    Raises:
        UnmarkedEnd: an end without ``finish_reason`` or ``[DONE]``.
        PrimaryError: an error object, a damaged line that held text, or a body that is no event stream. Behind what is
            no event (a proxy's page, a traceback) ``[DONE]`` alone is no end either.
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
            event, payload, begun = _mended(event, payload, begun)
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
    raise UnmarkedEnd(knows_marks="finish_reason" in _her_choice(spoken))


def _mended(event: Any, payload: bytes, begun: bytes) -> tuple[Any, bytes, bytes]:
    """What to make of a ``data:`` line that is no event, or that follows one which was ``begun``.

    An event may be written on several such lines. Bytes that are no UTF-8 are replaced, and ``data:`` may stand there
    twice.

    Returns:
        The event, where there is one now; its bytes; what is begun and not complete.
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
    """Count an event that nobody can read.

    Raises:
        PrimaryError: it held text.
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
    """What one event, or a whole reply, says that is no good end."""
    choice = _her_choice(event)
    if choice.get("error"):
        return _reported(choice)
    return broken_off(choice.get("finish_reason")) or broken_off(choice.get("native_finish_reason"))


def read_body(body: bytes) -> Iterator[Chunk]:
    """A whole chat completion in one JSON body.

    Raises:
        PrimaryError: it is an error object, has no text, or is no JSON at all.
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
    reason = _reason_of(_her_choice(reply))
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
    raise _reported(reply)


def _reported(payload: Any) -> PrimaryError:
    """What is sent under the name of an error, in whatever form."""
    said = words_in(payload) or codes_in(payload)
    return PrimaryError(kind_of_error(said), f"the server reported: {said[:200]}", said=said)


def delta_of(event: Any) -> tuple[str | None, str, bool]:
    """Text and finish reason of one stream event, and whether Z-Waif finds the same text in it.

    Text is None where the event has none.
    """
    choice = _her_choice(event)
    delta = choice.get("delta")
    content = delta.get("content") if type(delta) is dict else None
    if type(content) is str:
        return content, _reason_of(choice), event["choices"][0] is choice
    if content is None and type(delta) is not dict:
        message = choice.get("message")  # some servers write each piece as a whole reply, or as text is completed
        content = message.get("content") if type(message) is dict else choice.get("text")
    return text_in(content), _reason_of(choice), False


def message_of(reply: Any) -> str:
    """Text of a whole chat completion, empty where it has none."""
    choice = _her_choice(reply)
    message = choice.get("message")
    return text_in(message.get("content") if isinstance(message, dict) else choice.get("text")) or ""


def text_in(content: Any) -> str | None:
    """The words of a ``content``: a text, a list of parts, a number. Thoughts and pictures among the parts are none."""
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
    """As ``json.loads``, which takes half as long again to find out that it is UTF-8; None where that fails."""
    if len(raw) > _MOST_VALUES and raw.count(b",") > _MOST_VALUES:  # Words are long; only numbers take so long to read.
        return None
    try:
        text = raw.decode("utf-8", "surrogatepass")
        value, end = _decode(text)
    except (ValueError, RecursionError):
        return None
    return value if end == len(text) else None


def lines(parts: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of a byte stream, however it was cut, also a last one without a line end. They end with LF, CRLF or CR."""
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
