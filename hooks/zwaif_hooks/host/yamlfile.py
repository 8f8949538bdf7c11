"""Reading the YAML files of Z-Waif's user, who may have saved them with any editor."""

from __future__ import annotations

import locale
from pathlib import Path
from typing import Any

import yaml


class Unreadable(Exception):
    """``str(error)`` is one plain line that names the file and what to do."""


def read(path: Path) -> dict[str, Any]:
    """The keys of a YAML file, read as UTF-8 or else in this computer's own encoding (which Z-Waif uses).

    Raises:
        Unreadable: no such file, no access, no YAML, or no keys in it.
    """
    try:
        content = yaml.safe_load(_decode(path.read_bytes()))
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


def _decode(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode(locale.getpreferredencoding(False))


def _where(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1}" if mark else type(error).__name__
