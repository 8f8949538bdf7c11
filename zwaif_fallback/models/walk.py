"""Walk through a folder within bounds: links are not followed, and depth and number of entries are limited."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

MOST_ENTRIES = 20_000
"""Most entries read in one place: someone may name a whole disk as a model folder."""

Skip = Callable[[Path, str], None]


def walk(root: Path, depth: int, skip: Skip) -> Iterator[tuple[Path, list[str]]]:
    """Yield each folder and the names of its files, to ``depth`` folders below ``root``.

    Links to folders are not followed, so there are no loops and nothing outside ``root``; hidden folders are left out.
    ``skip`` is called for each folder that cannot be read.
    """
    waiting, seen = [(root, 0)], 0
    while waiting:
        folder, level = waiting.pop(0)
        try:
            with os.scandir(folder) as entries:
                listed = sorted(islice(entries, MOST_ENTRIES + 1), key=lambda entry: entry.name)
        except OSError as error:
            skip(folder, reason(error))
            continue
        seen += len(listed)
        yield folder, [entry.name for entry in listed if _is_file(entry)]
        if seen > MOST_ENTRIES:
            skip(root, f"holds more than {MOST_ENTRIES:,} files: the rest was not searched")
            return
        if level < depth:
            waiting += [(Path(entry.path), level + 1) for entry in listed if _is_own_folder(entry)]


def real_file(path: Path) -> Path | None:
    """Return the file with all links resolved; None if it is not a regular file (reading a pipe would never end)."""
    try:
        real = path.resolve(strict=True)
        return real if stat.S_ISREG(real.stat().st_mode) else None
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of links, before Python 3.13
        return None


def reason(error: OSError) -> str:
    """Return why the system refused, in a few words."""
    return (error.strerror or type(error).__name__).lower()


def printable(path: object) -> str:
    """Return a path, or a text from a file, as one line that any console and JSON can take."""
    text = str(path)
    try:
        text = os.fsencode(text).decode("utf-8", "replace") if os.name == "posix" else text
    except UnicodeEncodeError:  # a lone surrogate that no file system produced
        text = text.encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "�" for character in text)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_own_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
    except OSError:
        return False
