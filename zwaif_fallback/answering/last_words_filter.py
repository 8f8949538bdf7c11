"""Last words are no memories: what was said because nobody could answer is kept out of every prompt of ours.

Z-Waif writes them into its history like any reply, as it must: the user heard them. They are known again by their text,
which is kept in a file beside the log, so that they are known after a restart too.
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

KEPT = 400
"""Texts; older ones have long left the part of the history that Z-Waif sends."""
LONG_ENOUGH = 12
"""Characters. A shorter text is looked for as a whole reply only: inside another it may be a coincidence."""
FILE_NAME = "last_words_said.json"
_QUOTES = str.maketrans("", "", '"“”')

_logger = logging.getLogger("zwaif")


class LastWordsFilter:
    """The last words that were said. Thread-safe; a file that cannot be used costs the memory of other runs."""

    def __init__(self, path: Callable[[], Path]) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._texts: dict[str, None] | None = None
        """As compared, oldest first; None before the file was read."""

    def add(self, reply: str) -> None:
        """This reply was nothing but last words."""
        text = _compared(reply)
        if not text:
            return
        with self._lock:
            path = self._path()
            self._texts = _newest([*self._known(), text])
            try:
                with files.alone(path):
                    self._texts = _newest([*_read(path), *self._texts])  # another process may have said others
                    files.write_whole(path, json.dumps(list(self._texts), indent=1).encode("ascii"))
            except OSError as error:
                _logger.debug("the last words could not be kept in %s: %s", path, error)

    def without(self, request: ChatRequest) -> ChatRequest:
        """The request as if they had not been said.

        In a chat the user's words before them stay: nobody has answered them yet. A summary is to remember what
        happened between the two, so there the whole exchange goes. Memories that Z-Waif quotes lose the line, and so
        does a reply that began with one.
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
    """Beside the log, for all trees of this user: the same line means the same in each."""
    from zwaif_hooks.log import log_path

    return log_path().with_name(FILE_NAME)


def _read(path: Path) -> list[str]:
    try:
        texts = bounded.read_json(path)
    except (OSError, ValueError):
        return []
    return [text for text in texts if isinstance(text, str)] if isinstance(texts, list) else []


def _newest(texts: list[str]) -> dict[str, None]:
    """Each once, where it was said last."""
    return dict.fromkeys(reversed(list(dict.fromkeys(reversed(texts)))[:KEPT]))


def _compared(text: str) -> str:
    """As it comes back: Z-Waif unescapes it and may take its quotation marks out."""
    return " ".join(html.unescape(text).translate(_QUOTES).split())


def _is_known(reply: str, known: Iterable[str]) -> bool:
    """v1.14-R4 puts a phrase to bridge the wait before each reply."""
    text = _compared(reply)
    return any(text == said or (len(said) >= LONG_ENOUGH and text.endswith(f" {said}")) for said in known)


def _without_start(message: Message, known: Iterable[str]) -> Message:
    """A reply without the line that was said while it was being prepared."""
    text = message.content.lstrip()
    for said in known:
        if len(said) >= LONG_ENOUGH and text.startswith(f"{said} "):
            return replace(message, content=text[len(said) :].lstrip())
    return message


def _without_quoted(message: Message, known: Iterable[str]) -> Message:
    """A system or user message without the lines that quote them (``Mia: …`` in a memory)."""
    lines = message.content.split("\n")
    kept = [line for line in lines if not _quotes(line, known)]
    return message if len(kept) == len(lines) else replace(message, content="\n".join(kept))


def _quotes(line: str, known: Iterable[str]) -> bool:
    match = re.match(r"[^:]{1,40}: (.*)", line)
    return match is not None and any(len(said) >= LONG_ENOUGH and _compared(match[1]) == said for said in known)
