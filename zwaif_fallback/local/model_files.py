"""A model's files as the worker finds them, and whether they changed."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path

from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.models import plugin_engines
from zwaif_fallback.models.hub_cache import find_in_cache
from zwaif_fallback.models.name_syntax import is_path

logger = logging.getLogger(__name__)

FileStates = tuple[tuple[str, int, int], ...]
"""Name, size in bytes and modification time in nanoseconds of each file."""


def absolute(options: LoadOptions) -> LoadOptions:
    """Return ``options`` with absolute paths, as the worker runs in another folder."""
    model, cache = options.model.strip(), options.cache_dir
    if model and is_path(model):
        # Not resolved: a link in the Hugging Face cache has the name of its GGUF file, what it points to has none.
        model = os.path.abspath(Path(model).expanduser())  # noqa: PTH100 - resolve() would follow links
    if cache:
        cache = str(Path(cache).expanduser().resolve())
    return replace(options, model=model, cache_dir=cache)


def location(options: LoadOptions) -> Path | None:
    """The model's file or folder; None if it is not on this computer, or a plugin's."""
    if plugin_engines.find(options.model) is not None:
        return None
    return Path(options.model) if is_path(options.model) else find_in_cache(options.model, options.cache_dir)


def file_states(options: LoadOptions) -> FileStates:
    """The present state of the model's files; empty if it is not on this computer."""
    place = location(options)
    try:
        files = sorted(place.iterdir()) if place is not None and place.is_dir() else [place] if place else []
        return tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files if file.is_file())
    except OSError as error:
        logger.debug("Cannot read the files of %s: %s", options.model, error)
        return ()
