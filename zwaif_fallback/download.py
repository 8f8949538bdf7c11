"""Fetching a model from the Hugging Face hub into its cache, and saying what to do where that fails.

Only safetensors weights, the tokenizer and the configuration are fetched; never pickled weights, never code.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol

from zwaif_fallback import model_files
from zwaif_fallback.engines.model_files import NEEDED_FILES, check_folder
from zwaif_fallback.errors import FallbackError, ModelError

SPARE_BYTES = 500_000_000
"""What must stay free on the disk after a download, in bytes."""

Say = Callable[[str], None]


class DownloadFailed(FallbackError):
    """``str(error)`` is one line with the next step."""


class Hub(Protocol):
    """What is asked of the hub. Both raise whatever its library raises."""

    def files(self, model: str) -> Mapping[str, int]:
        """Name and size in bytes of each file that would be fetched."""

    def fetch(self, model: str) -> Path:
        """Download, showing progress, and return the folder; goes on where an earlier one stopped."""


class HuggingFace:
    """The real hub.

    Args:
        endpoint: its address, where it is not the usual one.
        cache_dir: where models go, where it is not the usual cache.
    """

    def __init__(self, endpoint: str | None = None, cache_dir: str | None = None) -> None:
        self._endpoint = endpoint
        self._cache_dir = cache_dir

    def files(self, model: str) -> Mapping[str, int]:
        from huggingface_hub import HfApi

        siblings = HfApi(self._endpoint).model_info(model, files_metadata=True).siblings or []
        return {one.rfilename: one.size or 0 for one in siblings if _is_needed(one.rfilename)}

    def fetch(self, model: str) -> Path:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            model, allow_patterns=NEEDED_FILES, endpoint=self._endpoint, cache_dir=self._cache_dir
        )
        return Path(folder)


def download(
    name: str,
    say: Say,
    hub: Hub | None = None,
    *,
    tree: Path | None = None,
    model_dir: str = "",
    cache_dir: str = "",
    free_bytes: Callable[[Path], int] = lambda place: shutil.disk_usage(place).free,
) -> Path:
    """Bring a model to this computer; the folder it is in afterwards.

    Args:
        name: as in ``API_FALLBACK_MODEL``: of the list, or ``owner/name`` on the hub.
        say: gets lines for the user.
        tree: Z-Waif's folder; a model that lies in it, or in ``model_dir`` in it, need not be fetched.
        cache_dir: the cache, empty for the Hugging Face default.

    Raises:
        FallbackError: the text says why, and what to do.
    """
    model = model_files.resolve(name, tree, model_dir)
    if Path(model).is_absolute():
        say(f"{model} is on this computer: nothing to download")
        return Path(model)
    here = model_files.cached_snapshot(model, cache_dir)
    if here is not None and model_files.is_on_this_machine(model, cache_dir):
        say(f"{model} is on this computer already: {here}")
        return here
    return _fetch(model, say, hub or HuggingFace(cache_dir=cache_dir or None), cache_dir, free_bytes)


def _fetch(model: str, say: Say, hub: Hub, cache_dir: str, free_bytes: Callable[[Path], int]) -> Path:
    place = _cache(cache_dir)
    try:
        files = hub.files(model)
        _refuse_without_weights(model, files)
        missing = _missing_bytes(model, files, cache_dir)
        _refuse_without_room(model, missing, place, free_bytes)
        say(f"Downloading {model}: {missing / 1e9:.1f} GB into {place}")
        folder = hub.fetch(model)
    except FallbackError:
        raise
    except Exception as error:  # the hub, requests and the disk each have errors of their own: all are explained
        raise explain(error, model) from error
    check_folder(folder)
    say(f"{model} is on this computer now: {folder}")
    return folder


def _is_needed(name: str) -> bool:
    return any(fnmatch(name, pattern) for pattern in NEEDED_FILES)


def _cache(cache_dir: str) -> Path:
    from huggingface_hub import constants

    return Path(cache_dir or constants.HF_HUB_CACHE)


def _refuse_without_weights(model: str, files: Mapping[str, int]) -> None:
    if not any(name.endswith(".safetensors") for name in files):
        raise ModelError(
            f"{model} offers no safetensors weights, and no others are loaded here. Choose a model that does: "
            "zwaif-fallback models lists some."
        )


def _missing_bytes(model: str, files: Mapping[str, int], cache_dir: str) -> int:
    """What is still to come, where an earlier download stopped half way."""
    from huggingface_hub import try_to_load_from_cache

    def is_here(name: str) -> bool:
        return isinstance(try_to_load_from_cache(model, name, cache_dir=cache_dir or None), str)

    return sum(size for name, size in files.items() if not is_here(name))


def _refuse_without_room(model: str, needed: int, place: Path, free_bytes: Callable[[Path], int]) -> None:
    existing = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = free_bytes(existing)
    if free < needed + SPARE_BYTES:
        raise DownloadFailed(
            f"{model} needs {(needed + SPARE_BYTES) / 1e9:.1f} GB, and {place} has {free / 1e9:.1f} GB free. "
            "Free some space, or let HF_HOME name a folder on a larger disk."
        )


def explain(error: Exception, model: str) -> FallbackError:
    """The same error as one line with the next step."""
    return DownloadFailed(f"{model} was not downloaded: {_meaning(error, model)}")


def _meaning(error: Exception, model: str) -> str:
    from huggingface_hub import errors
    from requests import exceptions

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "offline mode is on. Unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), then try again."
    if isinstance(error, errors.GatedRepoError):
        return _log_in(model)
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            "Hugging Face knows no model of that name that everybody may see. Check the spelling; for a private one, "
            "run: huggingface-cli login"
        )
    if isinstance(error, exceptions.SSLError):
        return f"no safe connection to Hugging Face ({_first_line(error)}). Check this computer's clock and its proxy."
    if isinstance(error, (exceptions.ConnectionError, exceptions.Timeout, errors.LocalEntryNotFoundError)):
        return (
            "Hugging Face cannot be reached. Check the internet connection (HTTPS_PROXY, if you need one), try again."
        )
    if isinstance(error, exceptions.HTTPError):
        return _meaning_of_status(error, model)
    return _meaning_on_disk(error)


def _meaning_of_status(error: Exception, model: str) -> str:
    status = getattr(getattr(error, "response", None), "status_code", 0)
    if status in (401, 403):
        return _log_in(model)
    if status == 429:
        return "Hugging Face asks for a pause (too many requests). Wait some minutes, then try again."
    if status >= 500:
        return f"Hugging Face has trouble of its own ({status}). Try again later; what is here already is kept."
    return f"Hugging Face refused ({_first_line(error)}). Check the name."


def _log_in(model: str) -> str:
    return (
        f"its owner lets in only who has agreed to the conditions. Open https://huggingface.co/{model}, log in and "
        "agree, then run: huggingface-cli login"
    )


def _meaning_on_disk(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full. Free some space and try again; what is here already is kept."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"its folder cannot be written ({_first_line(error)}). Let HF_HOME name a folder that you own."
    return f"{type(error).__name__}: {_first_line(error)}. Try again; ZWAIF_DEBUG=1 shows the details."


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
