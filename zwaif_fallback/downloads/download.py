"""Download a model from the Hugging Face hub, and explain failures.

From a repository in transformers' form only safetensors weights, tokenizer and configuration are downloaded; never
pickled weights, never code. From a repository with GGUF files, one model.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Protocol

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.downloads.hub import HuggingFace
from zwaif_fallback.downloads.transfer import DownloadFailed, DownloadStopped, Progress, Report, Stop, byte_size
from zwaif_fallback.errors import FallbackError, ModelError
from zwaif_fallback.models import plugin_engines
from zwaif_fallback.models.name_syntax import file_in_repository
from zwaif_hooks.storage.files import in_use, plain_name

NEEDED_FILES = ("*.json", "model*.safetensors", "*.model", "*.txt", "*.jinja")
"""Downloaded files of a model in transformers' form: never pickled weights, never code."""
SPARE_BYTES = 500_000_000
"""Bytes that must stay free on the disk after a download."""

Say = Callable[[str], None]

__all__ = ["DownloadFailed", "DownloadStopped", "HuggingFace", "Progress", "download", "explain", "fetch_model"]


class Stopped(Protocol):
    """The part of ``threading.Event`` that is used here."""

    def is_set(self) -> bool: ...


Fetch = Callable[[str, Say, Report, Stopped], object]
"""Download the model with this name: gets functions for lines and progress, and an event to stop it."""


def fetch_model(name: str, say: Say, report: Report, stop: Stopped) -> None:
    """Call :func:`download` with the defaults.

    Raises:
        FallbackError: the text says why, and what to do.
    """
    download(name, say, report=report, stop=stop.is_set)


class Hub(Protocol):
    """What is needed of the hub. Both methods raise whatever its library raises."""

    def files(self, repository: str) -> Mapping[str, int]:
        """Return name and size in bytes of every file."""

    def fetch(self, repository: str, files: Mapping[str, int], folder: Path | None, report: Report, stop: Stop) -> Path:
        """Download these files, resuming earlier attempts; return the folder they are in.

        Args:
            folder: destination, None for the Hugging Face cache.
        """


def _unwatched(progress: Progress) -> None:
    """Ignore progress."""


def download(
    name: str,
    say: Say,
    hub: Hub | None = None,
    *,
    tree: Path | None = None,
    model_dir: str = "",
    cache_dir: str = "",
    folder: Path | None = None,
    report: Report = _unwatched,
    stop: Stop = lambda: False,
    free_bytes: Callable[[Path], int] = lambda place: shutil.disk_usage(place).free,
) -> Path:
    """Download a model; return the folder or GGUF file.

    Args:
        name: as in ``API_FALLBACK_MODEL``: from the model list, ``owner/name`` on the hub, or ``owner/name:file.gguf``,
            where the file may be a pattern or a quantization (``owner/name:Q4_K_M``).
        say: gets lines for the user.
        tree: Z-Waif's folder; a model in it, or in ``model_dir`` inside it, is not downloaded.
        cache_dir: the cache, empty for the Hugging Face default.
        folder: destination instead of the cache.
        report: gets the progress about twice a second.
        stop: polled during the download; once it returns True the download ends and what was downloaded is kept.

    Raises:
        FallbackError: the text says why, and what to do.
    """
    model = resolve_name.resolve(name, tree, model_dir)
    if Path(model).is_absolute() or plugin_engines.find(model) is not None:
        say(f"{model} is on this computer: nothing to download")
        return Path(model)
    here = resolve_name.cached_snapshot(model, cache_dir)
    if here is not None and resolve_name.is_on_this_machine(model, cache_dir):
        say(f"{model} is on this computer already: {here}")
        return here
    wanted = _Wanted(model, say, hub or HuggingFace(cache_dir=cache_dir or None), cache_dir, folder)
    return wanted.fetch(report, stop, free_bytes)


class _Wanted:
    """One model to download."""

    def __init__(self, model: str, say: Say, hub: Hub, cache_dir: str, folder: Path | None) -> None:
        self._model, self._say, self._hub = model, say, hub
        self._repository, self._pattern = file_in_repository(model)
        self._repository = self._repository or model
        self._cache_dir = cache_dir
        self._folder = folder / plain_name(model.partition(":")[0].rpartition("/")[2]) if folder else None
        self._place = self._folder or _cache(cache_dir)

    def fetch(self, report: Report, stop: Stop, free_bytes: Callable[[Path], int]) -> Path:
        try:
            files = self._choose(self._hub.files(self._repository))
            missing = sum(size for name, size in files.items() if not self._is_here(name))
            _refuse_without_room(self._model, missing, self._place, free_bytes)
            self._say(f"Downloading {self._model}: {byte_size(missing)} into {self._place}")
            folder = self._hub.fetch(self._repository, files, self._folder, report, stop)
        except (DownloadStopped, ModelError):
            raise
        except DownloadFailed as error:
            raise error if str(error).startswith(self._model) else explain(error, self._model) from error
        except Exception as error:  # the hub, requests and the disk each have errors of their own: all are explained
            raise explain(error, self._model) from error
        return self._finished(folder, files)

    def _choose(self, files: Mapping[str, int]) -> Mapping[str, int]:
        """Return the files to download."""
        from zwaif_fallback.models.find_by_name import pick  # late, as below

        if self._pattern:
            names = pick(self._pattern, list(files))
            if not names:
                raise ModelError(f"{self._repository} has no such file. {_gguf_choice(self._repository, files)}")
            return {name: files[name] for name in names}
        needed = {name: size for name, size in files.items() if any(fnmatch(name, one) for one in NEEDED_FILES)}
        if any(name.endswith(".safetensors") for name in needed):
            return needed
        if any(name.lower().endswith(".gguf") for name in files):
            raise ModelError(f"{self._model} offers several files. {_gguf_choice(self._repository, files)}")
        raise ModelError(
            f"{self._model} offers no safetensors weights and no GGUF files, and no others are loaded here. Choose a "
            "model that does: zwaif-fallback models lists some."
        )

    def _is_here(self, name: str) -> bool:
        from huggingface_hub import try_to_load_from_cache

        if self._folder:
            return (self._folder / name).is_file()
        return isinstance(try_to_load_from_cache(self._repository, name, cache_dir=self._cache_dir or None), str)

    def _finished(self, folder: Path, files: Mapping[str, int]) -> Path:
        if self._pattern:
            place = folder / sorted(files)[0]
        else:
            from zwaif_fallback.models.model_files import check_folder  # late: Z-Waif's start waits for this module

            check_folder(folder)
            place = folder
        self._say(f"{self._model} is on this computer now: {place}")
        return place


def _gguf_choice(repository: str, files: Mapping[str, int]) -> str:
    """Return what to write instead: a few files with their sizes, the usual quantization first."""
    from zwaif_fallback.models.gguf_names import is_later_part

    offered = [name for name in sorted(files) if name.lower().endswith(".gguf") and not is_later_part(Path(name))]
    if not offered:
        return "It has no GGUF files at all."
    offered.sort(key=lambda name: "q4_k_m" not in name.lower())
    listed = ", ".join(f"{name} ({byte_size(files[name])})" for name in offered[:4])
    more = f" and {len(offered) - 4} more" if len(offered) > 4 else ""
    return f"Name one: {repository}:{offered[0]}. It has {listed}{more}."


def _cache(cache_dir: str) -> Path:
    from huggingface_hub import constants

    return Path(cache_dir or constants.HF_HUB_CACHE)


def _refuse_without_room(model: str, needed: int, place: Path, free_bytes: Callable[[Path], int]) -> None:
    existing = next(folder for folder in (place, *place.absolute().parents) if folder.exists())
    free = free_bytes(existing)
    if free < needed + SPARE_BYTES:
        raise DownloadFailed(
            f"{model} needs {(needed + SPARE_BYTES) / 1e9:.1f} GB, and {place} has {free / 1e9:.1f} GB free. "
            "Free some space, or set HF_HOME to a folder on a larger disk."
        )


def explain(error: Exception, model: str) -> FallbackError:
    """Return the error as one line with the next step."""
    return DownloadFailed(f"{model} was not downloaded: {_meaning(error, model)}")


def _meaning(error: Exception, model: str) -> str:
    from huggingface_hub import errors
    from requests import exceptions

    if isinstance(error, FallbackError):
        return str(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "offline mode is on. Unset HF_HUB_OFFLINE (and TRANSFORMERS_OFFLINE), then try again."
    if isinstance(error, errors.GatedRepoError):
        return _log_in(model)
    if isinstance(error, errors.RepositoryNotFoundError):
        return (
            "Hugging Face has no public model of that name. Check the spelling; for a private one, "
            "run: huggingface-cli login"
        )
    if isinstance(error, exceptions.SSLError):
        return (
            f"no secure connection to Hugging Face ({_first_line(error)}). Check this computer's clock and its proxy."
        )
    if isinstance(error, (exceptions.ConnectionError, exceptions.Timeout, errors.LocalEntryNotFoundError)):
        return (
            "Hugging Face cannot be reached. Check the internet connection (HTTPS_PROXY, if you need one), try again."
        )
    if isinstance(error, exceptions.ChunkedEncodingError):
        return "the connection keeps breaking off. Try again later; what was downloaded is kept."
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
        return f"Hugging Face has a problem ({status}). Try again later; what was downloaded is kept."
    return f"Hugging Face refused ({_first_line(error)}). Check the name."


def _log_in(model: str) -> str:
    page = f"https://huggingface.co/{model.partition(':')[0]}"
    return (
        f"its owner requires you to accept the conditions. Open {page}, log in and accept, "
        "then run: huggingface-cli login"
    )


def _meaning_on_disk(error: Exception) -> str:
    number = error.errno if isinstance(error, OSError) else None
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full. Free some space and try again; what was downloaded is kept."
    if in_use(error):
        return "another program has one of its files open. Close it and try again; what was downloaded is kept."
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"its folder cannot be written ({_first_line(error)}). Set HF_HOME to a folder that you own."
    return f"{type(error).__name__}: {_first_line(error)}. Try again; ZWAIF_DEBUG=1 shows the details."


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:160]
