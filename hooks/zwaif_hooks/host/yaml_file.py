"""Reads YAML files of Z-Waif's user, saved with any editor or received from strangers.

Every value stays text: no tags, no merges, no numbers, which can take very long to convert.
"""

from __future__ import annotations

import locale
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from zwaif_hooks.storage import bounded

MOST_BYTES = 256 * 1024
MOST_EVENTS = 3000
"""Starts and ends of values: about 15 ms of work. A card has about ten, a preset fifty."""
_LOADER: Any = yaml.CBaseLoader if yaml.__with_libyaml__ else yaml.BaseLoader


class Unreadable(Exception):
    """``str(error)`` is one plain line that names the file and what to do."""


def read(path: Path) -> dict[str, Any]:
    """Return the keys of a YAML file, read as UTF-8 or else in this computer's own encoding (which Z-Waif uses).

    Values are text, or lists and dicts of text.

    Raises:
        Unreadable: no such file, no access, no YAML, no keys in it, or far too long.
    """
    try:
        content = _load(_decode(bounded.read_bytes(path, MOST_BYTES)))
    except OSError as error:
        raise Unreadable(f"{path} cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path} is not readable as text. Save it as UTF-8 in your editor.") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Unreadable(
            f"{path} is not valid YAML ({_where(error)}). Compare its indentation with the example."
        ) from error
    if not isinstance(content, dict):
        raise Unreadable(f"{path} has no 'name: value' lines in it.")
    return content


def _load(text: str) -> Any:
    events = yaml.parse(text, Loader=_LOADER)
    if sum(1 for _ in islice(events, MOST_EVENTS + 1)) > MOST_EVENTS:
        raise ValueError(f"it holds more than {MOST_EVENTS} values")
    return yaml.load(text, Loader=_LOADER)


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode(locale.getpreferredencoding(False))


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}" if mark else type(error).__name__
