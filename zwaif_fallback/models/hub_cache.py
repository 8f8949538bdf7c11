"""The Hugging Face cache: ``models--OWNER--NAME/snapshots/COMMIT``, whose files are links into ``blobs``.

Layout: https://huggingface.co/docs/huggingface_hub/guides/manage-cache. Read directly, as the library would measure
every file of every revision.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zwaif_fallback.models.gguf_names import is_later_part
from zwaif_fallback.models.walk import Skip, reason, walk
from zwaif_hooks.storage import bounded

_LONGEST_REF = 200
_COMMIT = re.compile(r"\w+", re.ASCII)
"""A single folder name, so that a ref cannot lead elsewhere."""


@dataclass(frozen=True)
class Snapshot:
    """The newest revision of one repository."""

    name: str
    """``owner/name``."""
    folder: Path
    is_model: bool
    """Whether it is a model in transformers' form."""
    gguf: tuple[str, ...]
    """Its GGUF files, each a model of its own, relative to ``folder``."""


def snapshots(cache: Path, skip: Skip) -> Iterator[Snapshot]:
    """Yield every model repository in the cache: its main revision, or else the newest."""
    try:
        repositories = sorted(entry for entry in cache.iterdir() if entry.name.startswith("models--"))
    except OSError as error:
        return skip(cache, reason(error))
    for repository in repositories:
        try:
            folder = snapshot_of(repository)
        except OSError as error:
            skip(repository, reason(error))
            continue
        if folder is not None:
            yield from _snapshot(repository, folder, skip)
    return None


def snapshot_of(repository: Path) -> Path | None:
    """Return the folder of revision ``main``, or else of the newest revision; None if there is none."""
    folders = repository / "snapshots"
    try:
        main = bounded.read_text(repository / "refs" / "main", _LONGEST_REF).strip()
        if _COMMIT.fullmatch(main) and (folders / main).is_dir():
            return folders / main
    except (OSError, ValueError):  # Downloaded by commit: there is no main.
        main = ""
    if not folders.is_dir():
        return None
    known = [folder for folder in folders.iterdir() if folder.is_dir()]
    return max(known, key=lambda folder: folder.stat().st_mtime, default=None)


def find_in_cache(model: str, cache_dir: str = "") -> Path | None:
    """Return the folder of a hub model in the Hugging Face cache; None if it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json", cache_dir=cache_dir or None)
    return Path(found).parent if isinstance(found, str) else None


def _snapshot(repository: Path, folder: Path, skip: Skip) -> Iterator[Snapshot]:
    files = [(place, name) for place, names in walk(folder, 2, skip) for name in names]
    gguf = [(place / name).relative_to(folder) for place, name in files if name.lower().endswith(".gguf")]
    own = {name for place, name in files if place == folder}
    is_model = "config.json" in own and any(name.endswith((".safetensors", ".bin", ".json")) for name in own)
    name = repository.name.removeprefix("models--").replace("--", "/")
    whole = is_model and not (gguf and not any(file.endswith(".safetensors") for file in own))
    yield Snapshot(name, folder, whole, tuple(one.as_posix() for one in gguf if not is_later_part(one)))
