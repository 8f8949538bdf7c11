"""Removes last words from requests: what was said because nothing could answer must not become a memory.

Z-Waif writes them into its history like any reply. They are recognised by their text, which is kept in a file beside
the log file and survives a restart.
"""

from __future__ import annotations

import html
import json
import logging
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from zwaif_hooks.messages import ChatRequest, Message, Purpose
from zwaif_hooks.storage import bounded, files

TEXTS_KEPT = 400
"""Older texts have left the part of the history that Z-Waif sends."""
LONG_ENOUGH = 12
"""Characters. A shorter text only counts as a whole reply: as a part of one it may be a coincidence."""
FILE_NAME = "last_words_said.json"
_QUOTES = str.maketrans("", "", '"“”')

_logger = logging.getLogger("zwaif")


class LastWordsFilter:
    """Remembers last words and removes them. Thread-safe. Without a usable file, it forgets them at a restart."""

    def __init__(self, path: Callable[[], Path]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._texts: dict[str, None] | None = None
        """Normalised, oldest first; None until the file has been read."""

    def add(self, reply: str) -> None:
        """Remember a reply that was nothing but last words."""
        text = _compared(reply)
        if not text:
            return
        with self._lock:
            path = self._path()
            self._texts = _newest([*self._known(), text])
            try:
                with files.locked(path):
                    self._texts = _newest([*_read(path), *self._texts])  # another process may have added some
                    files.write_atomically(path, json.dumps(list(self._texts), indent=1).encode("ascii"))
            except OSError as error:
                _logger.debug("the last words could not be kept in %s: %s", path, error)

    def without(self, request: ChatRequest) -> ChatRequest:
        """Return the request without last words.

        In a chat, the user's message before them stays: nobody has answered it yet. In a summary the whole exchange
        goes. A memory that quotes them loses the line, and a reply that began with one loses its beginning.
        """
        with self._lock:
            known = dict(self._known())
        if not known or not request.messages:
            return request
        *earlier, newest = request.messages
        kept: list[Message] = []
        for message in earlier:
            if message.role != "assistant":
                kept.append(_without_quoted(message, known))
            elif not _is_known(message.content, known):
                kept.append(_without_start(message, known))
            elif request.purpose is Purpose.SUMMARY and kept and kept[-1].role == "user":
                kept.pop()
        messages = (*kept, newest)
        return request if messages == request.messages else replace(request, messages=messages)

    def _known(self) -> dict[str, None]:
        if self._texts is None:
            self._texts = dict.fromkeys(_read(self._path()))
        return self._texts


def said_file() -> Path:
    """Return the path beside the log file; all Z-Waif folders of a user share it."""
    from zwaif_hooks.log import log_path

    return log_path().with_name(FILE_NAME)


def _read(path: Path) -> list[str]:
    try:
        texts = bounded.read_json(path)
    except (OSError, ValueError):
        return []
    return [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []


def _newest(texts: list[str]) -> dict[str, None]:
    """Keep each text once, at the place where it was said last."""
    return dict.fromkeys(reversed(list(dict.fromkeys(reversed(texts)))[:TEXTS_KEPT]))


def _compared(text: str) -> str:
    """Normalise a text: Z-Waif unescapes replies and may remove quotation marks."""
    return " ".join(html.unescape(text).translate(_QUOTES).split())


def _is_known(reply: str, known: Iterable[str]) -> bool:
    """v1.14-R4 may put a filler phrase before a reply, so the end is compared as well."""
    text = _compared(reply)
    return any(text == said or (len(said) >= LONG_ENOUGH and text.endswith(f" {said}")) for said in known)


def _without_start(message: Message, known: Iterable[str]) -> Message:
    """Remove a line that was said while the reply was being prepared."""
    text = message.content.lstrip()
    for said in known:
        if len(said) >= LONG_ENOUGH and text.startswith(f"{said} "):
            return replace(message, content=text[len(said) :].lstrip())
    return message


def _without_quoted(message: Message, known: Iterable[str]) -> Message:
    """Remove lines of a system or user message that quote last words (``Mia: …`` in a memory)."""
    lines = message.content.split("\n")
    kept = [line for line in lines if not _quotes(line, known)]
    return message if len(kept) == len(lines) else replace(message, content="\n".join(kept))


def _quotes(line: str, known: Iterable[str]) -> bool:
    match = re.match(r"[^:]{1,40}: (.*)", line)
    return match is not None and any(len(said) >= LONG_ENOUGH and _compared(match[1]) == said for said in known)
