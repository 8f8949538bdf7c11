"""What an HTTP server's answer says about it, in words and in numbers."""

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

EXPLANATION_SECONDS = 0.5
"""How long the explanation of an error status is waited for."""
EXPLANATION_BYTES = 65536
"""How much of it is read."""
WORDS = 300
"""Characters of a server's own words that are told."""
MISCONFIGURED_STATUS = frozenset({401, 403, 404})
WRONG_HOST = "host header"
"""In the 400 of a server that answers only to names it knows (text-generation-webui's): its owner must add this one."""
DEFAULT_RETRY_AFTER = 5.0
"""Seconds, after a 429 that names no time."""
LONGEST_PAUSE = 3600.0
"""Seconds. A server whose clock is wrong must not be left alone for days."""
NO_REASONS = frozenset({"null", "none"})
"""Nothing, as some servers write it where they have no reason to give yet."""
BROKEN_OFF = frozenset({"abort", "aborted", "cancelled", "canceled", "failed", "unload"})
"""Reasons of a server (vLLM, SGLang, Ollama, proxies) that gave up in the middle of the reply; so is whatever ends with
``error``."""
CODES = ("code", "status", "type", "error_type", "reason")
"""Where an error object has codes."""
MOST_CODES = 6
_CHARSET = re.compile(r"charset=[\"']?([\w.-]{1,40})", re.IGNORECASE)
_NO_MODEL = re.compile(r"\bno (?:llm |llms )?models? (?:is |are )?(?:currently )?loaded\b", re.IGNORECASE)


def explanation(parts: Iterable[bytes], scope: CancelScope, broken: tuple[type[BaseException], ...]) -> bytes:
    """What the server says about its error, as far as that comes; the status alone says enough to go on.

    ``broken`` is what a connection may raise that breaks off, or that is no longer waited for.
    """
    scope.expire_in(EXPLANATION_SECONDS)
    said = b""
    with contextlib.suppress(*broken, PrimaryError):
        for part in parts:
            said += part
            if len(said) >= EXPLANATION_BYTES:
                break
    return said[:EXPLANATION_BYTES]


def decoded(body: bytes, content_type: str = "") -> str:
    """The text of an explanation: in UTF-8, in what its ``Content-Type`` says, or in an old system's letters."""
    with contextlib.suppress(UnicodeDecodeError):
        return codecs.getincrementaldecoder("utf-8")().decode(body)  # it may end inside a character
    named = _CHARSET.search(content_type)
    for encoding in (named[1] if named else "cp1252", "cp1252"):
        with contextlib.suppress(UnicodeError, LookupError):
            return body.decode(encoding)
    return body.decode("latin-1")


def words_in(told: Any) -> str:
    """What an error answer (its body, or the object in it) says, whatever the words are wrapped in.

    Empty for a web page, and for an object without a message.
    """
    if isinstance(told, bytes):
        told = decoded(told[:EXPLANATION_BYTES])
    if isinstance(told, str):
        with contextlib.suppress(ValueError, RecursionError):
            told = json.loads(told)
    for name in ("error", "detail", "message"):
        if isinstance(told, dict) and told.get(name):
            told = told[name]
    text = "" if told is None or isinstance(told, (dict, list)) else str(told)
    return "" if text.lstrip().startswith("<") else " ".join(text.split())[:WORDS]


def codes_in(told: Any) -> str:
    """What an error object without a message has to tell, in plain words: its codes and types."""
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
    """What an answer of 400 or above means; ``said`` is its body."""
    if status == 429:
        return FailureKind.RATE_LIMITED
    if says_no_model(said):
        return FailureKind.NO_MODEL
    if status in MISCONFIGURED_STATUS or (status == 400 and WRONG_HOST in said.lower()):
        return FailureKind.MISCONFIGURED
    return FailureKind.HTTP_ERROR


def kind_of_error(message: str) -> FailureKind:
    """What an error object inside a good answer means."""
    return FailureKind.NO_MODEL if says_no_model(message) else FailureKind.ERROR_BODY


def is_no_reason(reason: str) -> bool:
    """Is this finish reason none?"""
    return reason.lower() in NO_REASONS


def broken_off(reason: Any) -> PrimaryError | None:
    """What a finish reason says that is no good end."""
    if not reason or not isinstance(reason, str):
        return None
    if reason.lower() not in BROKEN_OFF and not reason.lower().endswith("error"):
        return None
    return PrimaryError(FailureKind.CUT, f"the server broke the reply off ({reason})")


def says_no_model(text: str) -> bool:
    """Is this how a server without a model says so (text-generation-webui, LM Studio)?"""
    return _NO_MODEL.search(text) is not None


def pause_asked_for(headers: Mapping[str, str], wall_clock: Callable[[], float] = time.time) -> float:
    """Seconds to leave the server alone after a 429: its ``Retry-After`` is a number of them, or a date.

    A date is reckoned from the server's own ``Date``, where it sends one: two clocks are rarely the same.
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
    except (TypeError, ValueError):  # Python 3.10 raises the one, later ones the other
        return None
