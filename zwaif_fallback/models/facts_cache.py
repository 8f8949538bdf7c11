"""Cache of model facts: a file is read again only after it has changed. Errors in its content are cached as well.

In memory only: two hundred models are read in a fraction of a second, and an unchanged model costs one ``stat`` per
file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.gguf_facts import read_gguf
from zwaif_fallback.models.gguf_names import parts_of
from zwaif_fallback.models.safetensors_facts import MOST_FILES, read_folder

MOST_KEPT = 5000
"""Models in the cache. A list has a few hundred at most."""

_Stamp = tuple[tuple[str, int, int], ...]
"""Name, size and modification time of each file."""
_known: dict[Path, tuple[_Stamp, ModelFacts | str]] = {}
"""The facts, or what is wrong with the content."""

logger = logging.getLogger(__name__)


def gguf_facts_of(path: Path) -> ModelFacts:
    """Return the facts of a GGUF model, all its parts together.

    Raises:
        ValueError: its content cannot be used; the text is one line.
        OSError: it cannot be read.
    """
    return _once(path, read_gguf)


def folder_facts_of(folder: Path) -> ModelFacts:
    """Return the facts of a folder in transformers' form; raises the same as :func:`gguf_facts_of`."""
    return _once(folder, read_folder)


def is_known(path: Path) -> bool:
    """Return whether the facts are cached and the files unchanged."""
    kept = _known.get(path.absolute())
    return kept is not None and kept[0] == _stamp(path)


def forget() -> None:
    """Clear the cache."""
    _known.clear()


def _once(path: Path, read: Callable[[Path], ModelFacts]) -> ModelFacts:
    place, stamp = path.absolute(), _stamp(path)
    kept = _known.get(place)
    if kept is None or kept[0] != stamp:
        if len(_known) >= MOST_KEPT:
            _known.clear()
        kept = _known[place] = stamp, _read(path, read)
    if isinstance(kept[1], str):
        raise ValueError(kept[1])
    return kept[1]


def _read(path: Path, read: Callable[[Path], ModelFacts]) -> ModelFacts | str:
    """Return the facts or the error. Disk trouble (``OSError``) may pass, so it is raised and not cached."""
    try:
        return read(path)
    except OSError:
        raise
    except ValueError as error:
        return str(error) or "it is damaged"
    except Exception as error:  # a file that nobody chose must not hide all other models
        logger.debug("%s cannot be understood", path, exc_info=True)
        return f"it cannot be understood ({type(error).__name__})"


def _stamp(path: Path) -> _Stamp:
    if path.is_dir():
        with os.scandir(path) as entries:
            return tuple(sorted((one.name, *_state(Path(one.path))) for one in islice(entries, MOST_FILES + 1)))
    return tuple((part.name, *_state(part)) for part in parts_of(path))


def _state(file: Path) -> tuple[int, int]:
    try:
        status = file.stat()
    except OSError:  # missing, or a broken link
        return 0, 0
    return status.st_size, status.st_mtime_ns
