"""Resolve ``API_FALLBACK_MODEL``: to a folder or GGUF file on this computer, or a name on the Hugging Face hub.

Reads only the disk, never the network, and imports neither torch nor transformers. Modules that read model files are
imported late, as Z-Waif's start waits for this one.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from zwaif_fallback.choosing.auto import Constraints, choose_here, is_auto, loadable, nothing_fits
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.models import catalogue, plugin_engines
from zwaif_fallback.models.hub_cache import find_in_cache
from zwaif_fallback.models.name_syntax import file_in_repository, is_repository, looks_like_path, program_of

_REMEDY = "zwaif-fallback models lists what there is."


def resolve(name: str, tree: Path | None = None, model_dir: str = "") -> str:
    """Return what to load for a user's ``API_FALLBACK_MODEL``.

    Tried in order: a model of a plugin's engine (``NAME:model``); a folder or ``.gguf`` file (as written, inside
    Z-Waif's ``tree``, inside the folders of ``model_dir``, which is ``FALLBACK_MODEL_DIR``); files of other programs by
    name (``ollama:llama3.2:3b``, ``lmstudio:publisher/repo/file.gguf``, ``owner/name:file.gguf``); the model list, by
    full name, short name or without the owner; any ``owner/name`` of the hub; the name of a model found on this
    computer (:mod:`zwaif_fallback.models.short_names`). ``auto`` is the best that fits at this moment.

    Returns:
        An absolute path; the name of a plugin's model; or a hub id or ``owner/name:file.gguf`` that is not here yet.

    Raises:
        ModelNotFound: none of these; the text says what to write instead.
    """
    wanted = name.strip().strip("\"'").strip()
    if not wanted or wanted.casefold() == catalogue.CUSTOM.casefold():
        raise ModelNotFound(f"No model is named{f' by {wanted}' if wanted else ''}. {_REMEDY}")
    if is_auto(wanted):
        choice = choose_here(Constraints(tree, model_dir))
        if choice is None:
            raise nothing_fits()
        return loadable(choice.model)
    if (declared := plugin_engines.find(wanted)) is not None:
        return declared.setting
    found = next((place for place in places(wanted, tree, model_dir) if _is_model(place)), None)
    if found is not None:
        return str(found.resolve())
    if program_of(wanted)[0]:
        return _of_another_program(wanted)
    if not file_in_repository(wanted)[0] and (listed := _listed(wanted)):
        wanted = listed
    if file_in_repository(wanted)[0]:
        return _in_cache(wanted)
    return wanted if _is_hub_id(wanted) else _called(wanted, tree, model_dir)


def is_on_this_machine(model: str, cache_dir: str = "") -> bool:
    """Return whether a resolved model can be loaded offline: its configuration and all its weights are here.

    A model that a plugin declares is."""
    if plugin_engines.find(model) is not None:
        return True
    place = Path(model)
    if place.is_absolute():
        return place.is_file() or _has_weights(place)
    if file_in_repository(model)[0]:
        return _named(model, cache_dir) is not None
    snapshot = cached_snapshot(model, cache_dir)
    return snapshot is not None and _has_weights(snapshot)


def cached_snapshot(hub_id: str, cache_dir: str = "") -> Path | None:
    """Return the model's folder in the Hugging Face cache; ``None`` if there is none."""
    from huggingface_hub.errors import HFValidationError

    try:
        return find_in_cache(hub_id, cache_dir)
    except HFValidationError:
        return None


def not_here(model: str) -> ModelNotFound:
    """Return the error for a hub model that is not downloaded yet."""
    offer = catalogue.find(model)
    size = f" (about {offer.download_gb:g} GB)" if offer and offer.download_gb else ""
    return ModelNotFound(
        f"{model} is not on this computer yet{size}. Press Load Model in Z-Waif's Settings tab, "
        f"or run: zwaif-fallback download {offer.short if offer else model}"
    )


def places(wanted: str, tree: Path | None, model_dir: str) -> list[Path]:
    """Return where a path may point, the likeliest first: as written, in Z-Waif's folder, in the model folders."""
    from zwaif_fallback.models.program_folders import own_folders

    base = tree or Path.cwd()
    last = wanted.replace("\\", "/").rsplit("/", 1)[-1]
    inside = [folder / name for folder in own_folders(model_dir, tree) for name in (wanted, last)]
    return [Path(wanted).expanduser(), base / wanted, *inside]


def _is_model(place: Path) -> bool:
    from zwaif_fallback.models.gguf_header import is_gguf

    try:
        if place.is_file():
            return is_gguf(place)
        return (place / "config.json").is_file() or any(place.glob("*.gguf"))
    except (OSError, ValueError):  # An invalid name (too long, with a NUL) is no path.
        return False


def _named(name: str, cache_dir: str = "") -> Path | None:
    from zwaif_fallback.models.find_by_name import find_named

    return find_named(name, cache_dir=cache_dir)


def _of_another_program(wanted: str) -> str:
    place = _named(wanted)
    if place is not None:
        return str(place.absolute())
    program, name = program_of(wanted)
    remedy = f"Bring it with: ollama pull {name}" if program == "ollama" else "Download it in LM Studio"
    raise ModelNotFound(
        f"{wanted} is not on this computer. {remedy}, or choose one of those that zwaif-fallback models lists."
    )


def _in_cache(name: str) -> str:
    """Return ``owner/name:file.gguf`` as a path if it is here, else unchanged."""
    place = _named(name)
    # Not resolved: in the Hugging Face cache the link has the file's name and the blob behind it has none.
    return str(place.absolute()) if place else name


def _listed(wanted: str) -> str:
    """Return the name of the offer that is meant; empty if none is."""
    offer = catalogue.find(wanted) or next(
        (offer for offer in catalogue.OFFERS if offer.name.rpartition("/")[2].casefold() == wanted.casefold()), None
    )
    return offer.name if offer else ""


def _is_hub_id(wanted: str) -> bool:
    return is_repository(wanted) and not looks_like_path(wanted)


def _called(wanted: str, tree: Path | None, model_dir: str) -> str:
    """Return a model on this computer by its name. Tried last, because it searches all disks."""
    from zwaif_fallback.models.search import find_models
    from zwaif_fallback.models.short_names import find_called, short_names

    models = find_models(tree, model_dir).usable()
    if model := find_called(wanted, models):
        return loadable(model)
    if looks_like_path(wanted):
        raise ModelNotFound(f"There is no model at {wanted}. {_REMEDY}")
    known = [*(offer.short for offer in catalogue.OFFERS if offer.short), *short_names(models)]
    near = difflib.get_close_matches(wanted.casefold(), known, n=1)
    meant = f"Did you mean {near[0]}? " if near else ""
    raise ModelNotFound(f"There is no model called {wanted!r} on this computer or in the list. {meant}{_REMEDY}")


def _has_weights(folder: Path) -> bool:
    if any(folder.glob("*.gguf")) or (folder / "model.safetensors").is_file():
        return True
    from zwaif_fallback.models.safetensors_facts import shards_in_index

    try:
        shards = shards_in_index(folder)
    except (OSError, ValueError):
        return False  # No index, or a damaged one: there is no complete model.
    return bool(shards) and all((folder / shard).is_file() for shard in shards)
