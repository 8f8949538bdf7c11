"""Translates what the requests of all three clients have in common into :mod:`zwaif_hooks.messages`."""

from __future__ import annotations

import base64
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from zwaif_hooks.host.persona import read_persona, recent_replies
from zwaif_hooks.messages import ChatRequest, Message, Picture, Purpose, Role
from zwaif_hooks.runtime import Runtime

PICTURE = re.compile(r"<img\b[^>]*>|data:image/[\w.+-]+;base64,[A-Za-z0-9+/=\s]+", re.IGNORECASE)
PICTURE_DATA = re.compile(r"data:image/[\w.+-]+;base64,([A-Za-z0-9+/=\s]+)", re.IGNORECASE)
ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "developer": "system"}
PURPOSE_OF_FUNCTION = {
    "summary_memory_run": Purpose.SUMMARY,
    "summary_memory_run_hard": Purpose.SUMMARY,
    "summary_memory_run_soft": Purpose.SUMMARY,
    "view_image": Purpose.IMAGE,
    "view_image_streaming": Purpose.IMAGE,
    "run": Purpose.CHAT,
    "run_streaming": Purpose.CHAT,
}
SUMMARY_MARK = "[System L]"


def purpose_of_caller() -> Purpose | None:
    """Return why Z-Waif asks, by the name of its controller's function on the stack; None if there is none."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(20):
        if frame is None:
            return None
        purpose = PURPOSE_OF_FUNCTION.get(frame.f_code.co_name)
        if purpose is not None and "api" in frame.f_globals.get("__name__", "").lower():
            return purpose
        frame = frame.f_back
    return None


def plain_messages(raw: Iterable[Any]) -> tuple[tuple[Message, ...], bool]:
    """Return the messages as text, and whether a picture was removed from them."""
    messages, pictures = [], False
    for item in raw:
        role, content, pictured = _parts(item)
        text = PICTURE.sub("", content)
        pictures = pictures or pictured or text != content
        messages.append(Message(ROLES.get(role, "user"), text.strip() if text != content else text))
    return tuple(messages), pictures


def newest_picture(raw: Sequence[Any]) -> Picture | None:
    """Return the picture of the last message; None if there is none, or only its name."""
    if not raw:
        return None
    item = raw[-1]
    if not isinstance(item, Mapping):
        item = {name: getattr(item, name, None) for name in ("content", "images")}
    images = item.get("images")
    if isinstance(images, (list, tuple)) and images:
        return _picture_from(images[-1])
    content = item.get("content")
    parts = content if isinstance(content, list) else [content]
    found = [match for part in parts for match in PICTURE_DATA.findall(_address_or_text(part))]
    return Picture(base64=found[-1]) if found else None


def _picture_from(image: Any) -> Picture | None:
    """Read one of Ollama's ``images``: a path, base64, bytes, or the library's object with one of them."""
    image = getattr(image, "value", image)
    if isinstance(image, bytes):
        return Picture(base64=base64.b64encode(image).decode("ascii"))
    if isinstance(image, os.PathLike):
        return Picture(path=os.path.abspath(image))  # noqa: PTH100 - resolve() would follow links
    if not isinstance(image, str):
        return None
    return _picture_from(Path(image)) if _is_file(image) else Picture(base64=image.rpartition(",")[2])


def _is_file(text: str) -> bool:
    try:
        return os.path.isfile(text)  # noqa: PTH113 - base64 is no path, and pathlib may raise for it
    except (OSError, ValueError):
        return False


def _address_or_text(part: Any) -> str:
    """Return what may hold a picture in one part of a message: its text, or OpenAI's ``image_url``."""
    if isinstance(part, Mapping):
        url = part.get("image_url")
        part = url.get("url") if isinstance(url, Mapping) else url or part.get("text")
    return part if isinstance(part, str) else ""


def prompt_chars(messages: Iterable[Any]) -> int:
    """Return the approximate length of the prompt in characters."""
    total = 0
    for item in messages:
        content = item.get("content") if isinstance(item, Mapping) else getattr(item, "content", None)
        if isinstance(content, str):
            total += len(content)
        elif isinstance(content, list):
            total += sum(len(part.get("text") or "") for part in content if isinstance(part, Mapping))
    return total


def stop_sequences(stop: Any) -> tuple[str, ...]:
    """Return the stop sequences in a request, which may be one text, several or none."""
    if isinstance(stop, str):
        return (stop,)
    return tuple(dict.fromkeys(s for s in stop if isinstance(s, str) and s)) if isinstance(stop, (list, tuple)) else ()


def with_context(request: ChatRequest, runtime: Runtime, purpose: Purpose | None) -> ChatRequest:
    """Add what the request does not say: its purpose, the persona, and which replies would be repeats."""
    newest = request.messages[-1].content if request.messages else ""
    if purpose is None:
        purpose = Purpose.IMAGE if request.has_image else Purpose.CHAT
    if purpose is Purpose.CHAT and newest.startswith(SUMMARY_MARK):
        purpose = Purpose.SUMMARY
    return replace(
        request,
        purpose=purpose,
        persona=read_persona(sys.modules, runtime.tree, newest),
        persona_in_messages=any(m.role == "system" and m.content.strip() for m in request.messages),
        recent_replies=recent_replies(sys.modules),
    )


def _parts(item: Any) -> tuple[str, str, bool]:
    """Return role, text and whether there is a picture, for every form of message that the clients allow."""
    if not isinstance(item, Mapping):
        item = {name: getattr(item, name, None) for name in ("role", "content", "images")}
    content = item.get("content")
    pictured = bool(item.get("images"))
    if isinstance(content, list):
        texts = [part.get("text", "") for part in content if isinstance(part, Mapping)]
        pictured = pictured or any(isinstance(p, Mapping) and "image" in str(p.get("type", "")) for p in content)
        content = "\n".join(text for text in texts if text and isinstance(text, str))
    return str(item.get("role", "user")), content if isinstance(content, str) else "", pictured
