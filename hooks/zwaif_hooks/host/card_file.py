"""Reads character cards of other programs: TavernAI's JSON and PNG (v1, v2 and v3), Oobabooga's YAML.

The files come from strangers: only text is read, within limits, and nothing is executed.
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from zwaif_hooks.host import yaml_file
from zwaif_hooks.storage import bounded

SUFFIXES = (".yaml", ".yml", ".json", ".png")
MOST_TEXT = 256 * 1024
"""Characters of a card; the longest in use have about 40,000."""
_MOST_CHUNK = 4 * 1024 * 1024
"""Bytes of one text in a picture, where a card with its lore and greetings is base64."""
_MOST_CHUNKS = 4000
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORDS = (b"ccv3", b"chara")
"""Keywords under which a picture holds a card; the newer form first."""
_START = "<START>"


def read(path: Path) -> str:
    """Return the card in this file as one text: description, personality, scenario, and examples after ``<START>``.

    Raises:
        ValueError: it holds no card, is damaged or far too long; the message is one line without a path.
        OSError: it cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        with bounded.open_plain(path) as stream:
            return _of_picture(stream)
    if suffix == ".json":
        return text_of(bounded.read_json(path))
    try:
        return text_of(yaml_file.read(path))
    except yaml_file.Unreadable as error:
        raise ValueError(str(error)) from error


def text_of(content: object) -> str:
    """As :func:`read`, for a card that is loaded already.

    Raises:
        ValueError: it is not a card.
    """
    outer = content if isinstance(content, Mapping) else {}
    inner = outer.get("data")
    card: Mapping[str, Any] = inner if isinstance(inner, Mapping) else outer

    def value(*keys: str) -> str:
        return next((text.strip() for key in keys if isinstance(text := card.get(key), str) and text.strip()), "")

    told = [
        value("description", "context", "char_persona", "Character Card"),
        _headed("Personality", value("personality")),
        _headed("Scenario", value("scenario", "world_scenario")),
    ]
    greeting = value("first_mes", "char_greeting", "greeting")
    examples = [f"{_START}\n{{{{char}}}}: {greeting}" if greeting else "", value("mes_example", "example_dialogue")]
    if examples[1] and not examples[1].lstrip().upper().startswith(_START):
        examples[1] = f"{_START}\n{examples[1]}"
    text = "\n\n".join(filter(None, [*told, *examples]))
    if not any(told) and not examples[1]:
        raise ValueError("It holds no description of a character.")
    return text[:MOST_TEXT]


def find(tree: Path, name: str) -> Path | None:
    """Find a card of this name where users put one: in ``Configurables``, or in Oobabooga's own folder."""
    places = [tree / "Configurables", tree / "Configurables" / "Characters", tree / "characters"]
    places += _places_beside(tree.parent, tree.parent.stat().st_mtime_ns)
    plain = bool(name) and name == Path(name).name and name not in (".", "..")
    names = [*([name] if plain else []), "CharacterCard"]
    for place in filter(Path.is_dir, places):
        for wanted in names if place.parent == tree else names[:-1]:
            for suffix in SUFFIXES:
                path = place / f"{wanted}{suffix}"
                if path.name != "CharacterCard.yaml" and path.is_file():
                    return path
    return None


@lru_cache(maxsize=4)
def _places_beside(folder: Path, changed: int) -> list[Path]:
    """Return where copies of Oobabooga in a folder keep characters. ``changed``: when the folder was, as a folder of
    downloads takes a millisecond to list."""
    beside = sorted(folder.glob("text-generation-webui*"))[:8]
    return [copy / inner / "characters" for copy in beside for inner in ("user_data", "")]


def _headed(heading: str, text: str) -> str:
    return f"{heading}: {text}" if text else ""


def _of_picture(stream: BinaryIO) -> str:
    if stream.read(len(_SIGNATURE)) != _SIGNATURE:
        raise ValueError("It is no PNG picture.")
    found = dict(_texts(stream))
    for keyword in _KEYWORDS:
        if keyword in found:
            return text_of(_unpacked(found[keyword]))
    raise ValueError("The picture holds no character card.")


def _texts(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield keyword and content of each text in a PNG picture that may be a card; stop where it is damaged."""
    for _ in range(_MOST_CHUNKS):
        head = stream.read(8)
        if len(head) < 8:
            return
        size, kind = struct.unpack(">I4s", head)
        if kind in (b"tEXt", b"zTXt", b"iTXt") and size <= _MOST_CHUNK:
            keyword, _, rest = stream.read(size).partition(b"\0")
            if keyword in _KEYWORDS:
                yield keyword, _content(kind, rest)
            stream.seek(4, 1)
        elif kind == b"IEND":
            return
        else:
            stream.seek(size + 4, 1)


def _content(kind: bytes, rest: bytes) -> bytes:
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _inflated(rest[1:])
    packed, rest = rest[:1] == b"\x01", rest[2:]
    text = rest.split(b"\0", 2)[-1]  # after the language and the translated keyword
    return _inflated(text) if packed else text


def _inflated(data: bytes) -> bytes:
    opened = zlib.decompressobj()
    try:
        text = opened.decompress(data, _MOST_CHUNK)
    except zlib.error as error:
        raise ValueError("The card in the picture is damaged.") from error
    if opened.unconsumed_tail:
        raise ValueError("The card in the picture is far too long.")
    return text


def _unpacked(text: bytes) -> object:
    """Decode a card in a picture: JSON in base64, or from some programs plain JSON."""
    try:
        if not text.lstrip().startswith(b"{"):
            text = base64.b64decode(text, validate=False)
        return bounded.loads(text)
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise ValueError("The card in the picture is damaged.") from error
