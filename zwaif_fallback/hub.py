"""The Hugging Face hub: what a repository holds, and its files, brought into the cache or into a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zwaif_fallback.transfer import Meter, Remote, Report, Stop, transfer
from zwaif_hooks.files import is_plain_name, is_plain_path, replace


class HuggingFace:
    """The real hub.

    Its library does everything but carry the bytes: that it does without telling how far it is and without a way to
    stop. So the bytes are brought to the very file at which the library goes on with a broken download; it finds them
    whole, and puts them into its cache as if it had brought them. Should a later release keep such files elsewhere, it
    fetches them once more, and nothing is wrong.

    Args:
        endpoint: its address, where it is not the usual one.
        cache_dir: where models go, where it is not the usual cache.
        wait: for the pause between two attempts.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        cache_dir: str | None = None,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._endpoint = endpoint
        self._cache_dir = cache_dir
        self._wait = wait

    def files(self, repository: str) -> Mapping[str, int]:
        from huggingface_hub import HfApi

        siblings = HfApi(self._endpoint).model_info(repository, files_metadata=True).siblings or []
        return {one.rfilename: one.size or 0 for one in siblings}

    def fetch(self, repository: str, files: Mapping[str, int], folder: Path | None, report: Report, stop: Stop) -> Path:
        meter = Meter(sum(files.values()), report)
        place = folder
        for name in files:
            if not is_plain_path(name):
                raise ValueError(f"{repository} has a file whose name means another place on some systems: {name!r}")
            if folder is not None:
                self._into_folder(repository, name, folder, meter, stop)
            else:
                place = self._into_cache(repository, name, meter, stop)
        meter.finish()
        if place is None:
            raise ValueError(f"{repository} was asked for no file")
        return place

    def _into_folder(self, repository: str, name: str, folder: Path, meter: Meter, stop: Stop) -> None:
        """As a plain file, under its own name only when it is whole."""
        target = folder / name
        if target.is_file():
            return meter.start(name, target.stat().st_size)
        part = target.with_name(f"{target.name}.part")
        self._carry(self._announced(repository, name), part, meter, stop)
        replace(part, target)
        return None

    def _into_cache(self, repository: str, name: str, meter: Meter, stop: Stop) -> Path:
        """The folder of the revision that holds it."""
        from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        cache = Path(self._cache_dir or constants.HF_HUB_CACHE)
        here = try_to_load_from_cache(repository, name, cache_dir=cache)
        if isinstance(here, str):
            meter.start(name, Path(here).stat().st_size)
        else:
            remote = self._announced(repository, name)
            base = f"models--{repository.replace('/', '--')}"
            lock = cache / ".locks" / base / f"{remote.etag}.zwaif.lock"
            lock.parent.mkdir(parents=True, exist_ok=True)
            with WeakFileLock(lock):  # Two programs that bring the same file would write into each other.
                self._carry(remote, cache / base / "blobs" / f"{remote.etag}.incomplete", meter, stop)
        path = Path(hf_hub_download(repository, name, cache_dir=cache, endpoint=self._endpoint))
        return path.parents[len(Path(name).parts) - 1]

    def _announced(self, repository: str, name: str) -> Remote:
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(repository, name, endpoint=self._endpoint)
        metadata = get_hf_file_metadata(url)
        etag = metadata.etag or ""
        if not is_plain_name(etag):  # It becomes a file's name.
            raise ValueError(f"{name} has no usable checksum")
        return Remote(name, url, metadata.size or 0, etag)

    def _carry(self, remote: Remote, part: Path, meter: Meter, stop: Stop) -> None:
        from huggingface_hub.utils import build_hf_headers, get_session  # type: ignore[attr-defined]

        session: Any = get_session()
        transfer(remote, part, meter, session=session, headers=build_hf_headers(), stop=stop, wait=self._wait)
