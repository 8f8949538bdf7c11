"""Removes keys, passwords and the user's name from a report, so it can be published in an issue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_NAMES_A_SECRET = re.compile(r"(?:KEYS?|TOKEN|SECRET|PASSWORD)$", re.IGNORECASE)
_SHORTEST_SECRET = 6
"""Characters; a shorter value would also match inside ordinary words."""
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")
_QUERY = re.compile(r"(?<=://)([^\s?]+)\?[^\s'\"]+")


def shareable(data: Any, environ: Mapping[str, str], home: str = "") -> Any:
    """Return JSON data with every string cleaned.

    The values of ``environ`` that are keys by their names become ``***``, as a server may quote one in an error; URLs
    lose login and query; the user's home folder becomes ``~``, as its name is often the user's own.
    """
    keys = sorted((value.strip() for name, value in environ.items() if _NAMES_A_SECRET.search(name)), key=len)
    secrets = [re.escape(key) for key in reversed(keys) if len(key) >= _SHORTEST_SECRET]
    replaced = [(_LOGIN, ""), (_QUERY, r"\1"), (_folder(home or str(Path.home())), "~")]
    if secrets:
        replaced.insert(0, (re.compile("|".join(secrets)), "***"))
    return _cleaned(data, replaced)


def _folder(path: str) -> re.Pattern[str]:
    """Match a folder as Windows may write it: either slash, any case, backslashes doubled inside quotes."""
    parts = [re.escape(part) for part in re.split(r"[\\/]+", path) if part]
    if not parts:
        return re.compile(r"(?!)")  # the root folder names nobody: match nothing
    start = r"(?<!\w)" if parts[0].endswith(":") else r"(?<!\w)[\\/]+"
    return re.compile(start + r"[\\/]+".join(parts) + r"(?!\w)", re.IGNORECASE)


def _cleaned(value: Any, replaced: list[tuple[re.Pattern[str], str]]) -> Any:
    if isinstance(value, str):
        for pattern, text in replaced:
            value = pattern.sub(text, value)
        return value
    if isinstance(value, dict):
        return {name: _cleaned(inner, replaced) for name, inner in value.items()}
    return [_cleaned(inner, replaced) for inner in value] if isinstance(value, (list, tuple)) else value
