"""Find the file behind a readable name: ``ollama:llama3.2:3b``, ``lmstudio:publisher/repo/file.gguf`` or
``owner/name:file.gguf``. Such names stay valid when the program moves its files."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from zwaif_fallback.models import hub_cache, ollama_store
from zwaif_fallback.models.gguf_names import is_later_part, quantization_in, stem_of
from zwaif_fallback.models.name_syntax import file_in_repository, program_of
from zwaif_fallback.models.program_folders import LMSTUDIO, OLLAMA, Machine, Place, places, this_machine
from zwaif_fallback.models.program_folders import hub_cache as hub_folder
from zwaif_fallback.models.walk import walk


def find_named(name: str, machine: Machine | None = None, cache_dir: str = "") -> Path | None:
    """Return the file or folder that a readable name means; None if it is not on this computer."""
    machine = machine or this_machine()
    program, wanted = program_of(name)
    if program == "ollama":
        return _in_ollama(wanted, machine)
    if program == "lmstudio":
        return _in_lmstudio(wanted, machine)
    repository, pattern = file_in_repository(name)
    return _in_hub(repository, pattern, Path(cache_dir) if cache_dir else hub_folder(machine)) if repository else None


def pick(pattern: str, files: list[str]) -> list[str]:
    """Return the files of a repository that one name means: one GGUF file, or every part of a split one.

    If several match, the first by name wins.
    """
    gguf = sorted(file for file in files if file.lower().endswith(".gguf"))
    wanted = pattern.casefold()
    fitting = [file for file in gguf if file.casefold() == wanted]
    fitting = fitting or [file for file in gguf if fnmatch(file.casefold(), wanted)]
    if not fitting:
        return []
    stem = stem_of(fitting[0])
    return [file for file in gguf if stem_of(file) == stem]


def matches_lmstudio(wanted: str, relative: str) -> bool:
    """Return whether a name in LM Studio's style means the model at ``publisher/repo/file.gguf``.

    LM Studio names a model by its repository in lower case, without ``-GGUF``, with or without the publisher; ``@`` and
    a quantization may follow (https://lmstudio.ai/docs/python/manage-models/loading).
    """
    name, _, quantization = wanted.casefold().partition("@")
    *folders, file = relative.casefold().split("/")
    stem = stem_of(file)
    if quantization and quantization_in(stem).casefold() != quantization:
        return False
    repository = folders[-1].removesuffix("-gguf") if folders else ""
    publisher = folders[-2] if len(folders) > 1 else ""
    bare = stem[: -len(quantization_in(stem)) - 1] if quantization_in(stem) else stem
    return name in {
        relative.casefold(),
        stem,
        bare,
        repository,
        f"{publisher}/{repository}",
        "/".join(folders),
        f"{publisher}/{bare}",
    }


def _places_of(machine: Machine, source: str) -> list[Place]:
    return [place for place in places(machine) if place.source == source]


def _in_ollama(wanted: str, machine: Machine) -> Path | None:
    full = ollama_store.full_name(wanted)
    for place in _places_of(machine, OLLAMA):
        for entry in ollama_store.entries(place.folder, _ignore):
            if ollama_store.full_name(entry.name) == full and entry.model.is_file():
                return entry.model
    return None


def _in_lmstudio(wanted: str, machine: Machine) -> Path | None:
    for place in _places_of(machine, LMSTUDIO):
        for folder, files in walk(place.folder, place.depth, _ignore):
            models = [folder / file for file in files if file.lower().endswith(".gguf")]
            models += [folder] if "config.json" in files else []
            for path in models:
                relative = path.relative_to(place.folder).as_posix()
                if not is_later_part(path) and "mmproj" not in path.name and matches_lmstudio(wanted, relative):
                    return path
    return None


def _in_hub(repository: str, pattern: str, cache: Path) -> Path | None:
    try:
        folder = hub_cache.snapshot_of(cache / f"models--{repository.replace('/', '--')}")
    except OSError:
        return None
    if folder is None:
        return None
    files = [
        (place / name).relative_to(folder).as_posix() for place, names in walk(folder, 2, _ignore) for name in names
    ]
    picked = pick(pattern, files)
    return folder / picked[0] if picked else None


def _ignore(path: Path, why: str) -> None:
    """Ignore unreadable files: ``zwaif-fallback models`` lists them, and here only one name is wanted."""
