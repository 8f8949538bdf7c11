"""Reads who the companion is at this moment, and what it said last, from Z-Waif's live modules and files.

No function of Z-Waif is called, because several of its getters write files.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from zwaif_hooks import log
from zwaif_hooks.host import card_file, yaml_file
from zwaif_hooks.messages import Persona
from zwaif_hooks.storage import bounded

_T = TypeVar("_T")

NO_CARD = "No character card loaded!"
"""Text of Z-Waif's card before it is loaded."""
STOCK_CARDS = (
    "--- Character Info ---\nThe following is a conversation with an AI Waifu.",
    "--- Character Info ---\nYou are a helpful, friendly, and intelligent AI assistant.",
)
"""Beginnings of the cards that Z-Waif ships: v1.9 to v1.15, and v1.14-R4."""
_CARD_KEY = "Character Card"
NO_REPLY = "None!"
"""Value of ``stored_received_message`` before the first reply."""
RECENT = 20
"""How many past replies Z-Waif compares at most when it rejects a repeated one."""

_MARKER = re.compile(r"\[Platform: ([^\]\r\n]{1,80})\]")
_USERS = (
    ("twitch", "twitch", "twitch_user"),
    ("discord", "discord", "discord_user"),
    ("web interface", "webui", "webui_user"),
    ("command line", "cmd", "cmd_user"),
    ("voice chat", "voice", "voice_user"),
    ("minecraft", "minecraft", "minecraft_user"),
    ("hangout", "hangout", "hangout_user"),
)
"""Beginning of a v1.14 platform marker → platform and user, the two parts of a key in ``user_relationships.json``."""
_NOBODY = ("personal", "default")
_NONE: tuple[str, ...] = ()


def read_persona(modules: Mapping[str, ModuleType], tree: Path | None, message_text: str = "") -> Persona:
    """Return the persona for a request whose newest user text is ``message_text``; ``modules`` is ``sys.modules``.

    Never raises: what cannot be read is left empty and reported once.
    """
    platform = _tolerant("", lambda: _platform(message_text))
    return Persona(
        char_name=_tolerant("", lambda: _char_name(modules)),
        user_name=_tolerant("", lambda: _user_name(modules)),
        character_card=_tolerant("", lambda: _card(modules, tree, _char_name(modules))),
        task=_tolerant("", lambda: _task(modules, tree)),
        relationship=_tolerant("", lambda: _relationship(modules, tree, platform)),
        platform=platform,
        local_time=_tolerant("", _local_time),
    )


def recent_replies(modules: Mapping[str, ModuleType]) -> tuple[str, ...]:
    """Return the replies that Z-Waif would reject as repeats, newest last; empty if they cannot be read."""
    return _tolerant(_NONE, lambda: _replies(modules))


def controller(modules: Mapping[str, ModuleType]) -> ModuleType | None:
    """Return Z-Waif's controller once it is imported far enough (it moved in v1.9, but the old file is still there)."""
    for name in ("API.api_controller", "API.Oogabooga_Api_Support"):
        module = modules.get(name)
        if module is not None and hasattr(module, "send_via_oogabooga"):
            return module
    return None


def _tolerant(empty: _T, read: Callable[[], _T]) -> _T:
    try:
        return read()
    except Exception as error:  # the host's data can be anything, and a reply without it is better than none
        log.say_once(f"persona {error!r}", f"Part of the character could not be read and is left out: {error}")
        return empty


def _text(module: ModuleType | None, name: str) -> str:
    value = getattr(module, name, None)
    return value.strip() if isinstance(value, str) else ""


def _char_name(modules: Mapping[str, ModuleType]) -> str:
    return _text(modules.get("utils.settings"), "char_name") or os.environ.get("CHAR_NAME", "").strip()


def _user_name(modules: Mapping[str, ModuleType]) -> str:
    return _text(controller(modules), "YOUR_NAME") or os.environ.get("YOUR_NAME", "").strip()


def _card(modules: Mapping[str, ModuleType], tree: Path | None, name: str) -> str:
    """Return the card that Z-Waif loaded, or else its file (with Oobabooga, v1.9 to v1.12 do not load it).

    If that is the card that Z-Waif ships, or nothing, use another program's card that is stored beside it.
    """
    live = _text(modules.get("API.character_card"), "character_card")
    card = live if live and live != NO_CARD else _from_yaml(tree, ("Configurables", "CharacterCard.yaml"), _CARD_KEY)
    if card and not any(card.startswith(stock) for stock in STOCK_CARDS):
        return card
    path = card_file.find(tree, name) if tree is not None else None
    if path is None:
        return card
    try:
        return card_file.read(path)
    except (OSError, ValueError) as error:
        why = error.strerror or str(error) if isinstance(error, OSError) else str(error)
        log.say_once(f"card {path}", f"The character card {path} cannot be used: {why} The reply is made without it.")
        return card


def _task(modules: Mapping[str, ModuleType], tree: Path | None) -> str:
    """Return the description of the current task (``<character>-<task>``); empty if none is chosen."""
    settings = modules.get("utils.settings")
    current = _text(settings, "cur_task_char")
    name = current.removeprefix(_text(settings, "char_name") + "-")
    if name in ("", "None") or name != Path(name).name:
        return ""
    return _from_yaml(tree, ("Configurables", "TaskProfiles", f"{name}.yaml"), "Description")


def _from_yaml(tree: Path | None, parts: tuple[str, ...], key: str) -> str:
    """Return one text of one file. A missing file is normal; one that cannot be read is reported."""
    path = Path(tree, *parts) if tree is not None else None
    if path is None or not path.exists():
        return ""
    try:
        value = yaml_file.read(path).get(key)
    except yaml_file.Unreadable as problem:
        log.say_once(f"yaml {path}", f"{problem} The reply is made without it.")
        return ""
    text = value.strip() if isinstance(value, str) else ""
    return "" if text in ("~", "null") else text  # YAML for no value


def _platform(message_text: str) -> str:
    """Return the platform in the last marker of the text, for example ``Discord``."""
    found = _MARKER.findall(message_text)
    return found[-1].strip() if found else ""


def _relationship(modules: Mapping[str, ModuleType], tree: Path | None, platform: str) -> str:
    """Return the level stored for this platform's user; empty for unknown users and in releases without relationships.

    Read from the file, not the module: Z-Waif saves every change, and its getters create missing entries.
    """
    if tree is None or "utils.user_relationships" not in modules:
        return ""
    path = Path(tree, "Configurables", "user_relationships.json")
    if not path.is_file():
        return ""
    try:
        stored = bounded.read_json(path)
    except (OSError, ValueError) as error:
        log.say_once(f"json {path}", f"{path} cannot be read ({type(error).__name__}). The reply is made without it.")
        return ""
    entry = stored.get("_".join(_user(platform))) if isinstance(stored, dict) else None
    level = entry.get("relationship_level") if isinstance(entry, dict) else None
    return level if isinstance(level, str) else ""


def _user(platform: str) -> tuple[str, str]:
    """Return platform and user id for a marker's text."""
    for beginning, name, user in _USERS:
        if platform.lower().startswith(beginning):
            return name, user
    return _NOBODY


def _local_time() -> str:
    shared = os.environ.get("TIME_IN_ENCODING", "").strip().upper() == "ON"
    return time.strftime("%Y-%m-%d %H:%M") if shared else ""


def _replies(modules: Mapping[str, ModuleType]) -> tuple[str, ...]:
    """Return the past replies. A reply is the second field of an entry, which has 2 to 5 fields."""
    module = controller(modules)
    history = getattr(module, "ooga_history", None)
    entries = history[-RECENT:] if isinstance(history, list) else []
    replies = [entry[1] for entry in entries if isinstance(entry, list | tuple) and len(entry) > 1]
    stored = getattr(module, "stored_received_message", NO_REPLY)  # unchanged, because Z-Waif compares every character
    if stored != NO_REPLY and stored not in replies:
        replies.append(stored)
    return tuple(reply for reply in replies if isinstance(reply, str) and reply)
