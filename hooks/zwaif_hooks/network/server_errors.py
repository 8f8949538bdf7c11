"""What an error answer of an LLM server means, and the server's own words in it."""

from __future__ import annotations

import codecs
import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.stream import CancelScope, PrimaryError

ERROR_BODY_SECONDS = 0.5
"""How long to wait for the body of an error."""
ERROR_BODY_BYTES = 65536
"""How much of the body is read."""
WORDS = 300
"""Characters of a server's own words that are shown."""
MISCONFIGURED_STATUS = frozenset({401, 403, 404})
WRONG_HOST = "host header"
"""In the error 400 of a server that answers only to host names it knows (text-generation-webui)."""
DEFAULT_RETRY_AFTER = 5.0
"""Seconds to wait after a 429 that names no time."""
LONGEST_PAUSE = 3600.0
"""Seconds. A server whose clock is wrong must not be left alone for days."""
NO_REASONS = frozenset({"null", "none"})
"""How some servers write that there is no finish reason yet."""
BROKEN_OFF = frozenset({"abort", "aborted", "cancelled", "canceled", "failed", "unload"})
"""Finish reasons of servers (vLLM, SGLang, Ollama, proxies) that gave up in the middle of a reply. Any reason that ends
with ``error`` counts, too."""
CODES = ("code", "status", "type", "error_type", "reason")
"""Fields of an error object that hold codes."""
MOST_CODES = 6
_CHARSET = re.compile(r"charset=[\"']?([\w.-]{1,40})", re.IGNORECASE)
_NO_MODEL = re.compile(r"\bno (?:llm |llms )?models? (?:is |are )?(?:currently )?loaded\b", re.IGNORECASE)


def error_body(parts: Iterable[bytes], scope: CancelScope, broken: tuple[type[BaseException], ...]) -> bytes:
    """Return the body of an error, as far as it comes in time; the status alone is enough to go on.

    Args:
        broken: what a broken or expired connection may raise.
    """
    scope.expire_in(ERROR_BODY_SECONDS)
    said = b""
    with contextlib.suppress(*broken, PrimaryError):
        for part in parts:
            said += part
            if len(said) >= ERROR_BODY_BYTES:
                break
    return said[:ERROR_BODY_BYTES]


def decoded(body: bytes, content_type: str = "") -> str:
    """Decode the body of an error: as UTF-8, as its ``Content-Type`` says, or as cp1252."""
    with contextlib.suppress(UnicodeDecodeError):
        return codecs.getincrementaldecoder("utf-8")().decode(body)  # it may end inside a character
    named = _CHARSET.search(content_type)
    for encoding in (named[1] if named else "cp1252", "cp1252"):
        with contextlib.suppress(UnicodeError, LookupError):
            return body.decode(encoding)
    return body.decode("latin-1")


def message_in(told: Any) -> str:
    """Return the message in the body of an error, or in the object in it, however it is wrapped.

    Empty for a web page and for an object without a message.
    """
    if isinstance(told, bytes):
        told = decoded(told[:ERROR_BODY_BYTES])
    if isinstance(told, str):
        with contextlib.suppress(ValueError, RecursionError):
            told = json.loads(told)
    for name in ("error", "detail", "message"):
        if isinstance(told, dict) and told.get(name):
            told = told[name]
    text = "" if told is None or isinstance(told, (dict, list)) else str(told)
    return "" if text.lstrip().startswith("<") else " ".join(text.split())[:WORDS]


def describe_codes(told: Any) -> str:
    """Describe an error object without a message by its codes and types."""
    if isinstance(told, (bytes, str)):
        with contextlib.suppress(ValueError, RecursionError):
            told = json.loads(told)
    codes: list[str] = []
    todo = [told]
    while todo and len(codes) < MOST_CODES:
        part = todo.pop(0)
        if isinstance(part, dict):
            codes += [str(part[name])[:WORDS] for name in CODES if isinstance(part.get(name), (str, int))]
            todo += [part.get(name) for name in ("error", "metadata")]
    return f"an error without a message ({', '.join(dict.fromkeys(codes))})" if codes else "an error without a message"


def kind_of_status(status: int, said: str) -> FailureKind:
    """Return what a status of 400 or above means; ``said`` is the body."""
    if status == 429:
        return FailureKind.RATE_LIMITED
    if says_no_model(said):
        return FailureKind.NO_MODEL
    if status in MISCONFIGURED_STATUS or (status == 400 and WRONG_HOST in said.lower()):
        return FailureKind.MISCONFIGURED
    return FailureKind.HTTP_ERROR


def kind_of_error(message: str) -> FailureKind:
    """Return what an error object inside a 200 answer means."""
    return FailureKind.NO_MODEL if says_no_model(message) else FailureKind.ERROR_BODY


def is_no_reason(reason: str) -> bool:
    """Return whether this finish reason means that there is none."""
    return reason.lower() in NO_REASONS


def broken_off(reason: Any) -> PrimaryError | None:
    """Return the error that a finish reason reports; None for a regular end."""
    if not reason or not isinstance(reason, str):
        return None
    if reason.lower() not in BROKEN_OFF and not reason.lower().endswith("error"):
        return None
    return PrimaryError(FailureKind.CUT, f"the server broke the reply off ({reason})")


def says_no_model(text: str) -> bool:
    """Return whether a server says that it has no model loaded (text-generation-webui, LM Studio)."""
    return _NO_MODEL.search(text) is not None


def pause_asked_for(headers: Mapping[str, str], wall_clock: Callable[[], float] = time.time) -> float:
    """Return the seconds to wait after a 429, from its ``Retry-After``: a number or a date.

    A date is compared with the server's own ``Date`` if it sends one, because two clocks rarely agree.
    """
    asked = headers.get("Retry-After", "")
    try:
        pause = float(asked)
    except ValueError:
        until = _date(asked)
        if until is None:
            return DEFAULT_RETRY_AFTER
        now = _date(headers.get("Date", ""))
        pause = until.timestamp() - (now.timestamp() if now is not None else wall_clock())
    return min(max(0.0, pause), LONGEST_PAUSE) if pause == pause else DEFAULT_RETRY_AFTER


def _date(text: str) -> datetime | None:
    try:
        return parsedate_to_datetime(text)
    except (TypeError, ValueError):  # TypeError in Python 3.10, ValueError in later versions
        return None
