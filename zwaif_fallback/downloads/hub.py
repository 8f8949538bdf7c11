"""The Hugging Face hub: list the files of a repository, and download them into the cache or a folder."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zwaif_fallback.downloads.transfer import DownloadFailed, Meter, RemoteFile, Report, Stop, has_hash, transfer
from zwaif_hooks.storage.files import is_plain_path, remove, replace, write_atomically

_COMMIT = re.compile(r"[0-9a-f]{40}")


class HuggingFace:
    """The real hub.

    Its library lists the files. It could download them too, but without progress, without a way to stop, without
    checking the hash, and as many bytes as the server sends. So we transfer the bytes ourselves, into the file where
    the library would resume a broken download, and then put them where it looks for them.

    Args:
        endpoint: address of the hub, if not the default.
        cache_dir: cache folder, if not the default.
        wait: sleeps between two attempts.
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
                self._into_folder(repository, name, files[name], folder, meter, stop)
            else:
                place = self._into_cache(repository, name, files[name], meter, stop)
        meter.finish()
        if place is None:
            raise ValueError(f"{repository} was asked for no file")
        return place

    def _into_folder(self, repository: str, name: str, size: int, folder: Path, meter: Meter, stop: Stop) -> None:
        """Download to a plain file, which gets its name once it is complete."""
        target = folder / name
        if target.is_file():
            return meter.start(name, target.stat().st_size)
        part = target.with_name(f"{target.name}.part")
        self._carry(self._announced(repository, name, size)[0], part, meter, stop)
        replace(part, target)
        return None

    def _into_cache(self, repository: str, name: str, size: int, meter: Meter, stop: Stop) -> Path:
        """Download into the cache; return the folder of the revision."""
        from huggingface_hub import constants, try_to_load_from_cache
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]

        cache = Path(self._cache_dir or constants.HF_HUB_CACHE)
        here = try_to_load_from_cache(repository, name, cache_dir=cache)
        if isinstance(here, str):
            meter.start(name, Path(here).stat().st_size)
            return Path(here).parents[len(Path(name).parts) - 1]
        remote, commit = self._announced(repository, name, size)
        base = f"models--{repository.replace('/', '--')}"
        lock = cache / ".locks" / base / f"{remote.etag}.zwaif.lock"
        lock.parent.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(lock):  # Two programs downloading one file would write into each other's.
            part = cache / base / "blobs" / f"{remote.etag}.incomplete"
            self._carry(remote, part, meter, stop)
            return _keep(part, part.with_suffix(""), cache / base, commit, name)

    def _announced(self, repository: str, name: str, size: int) -> tuple[RemoteFile, str]:
        """Return the file as the server announces it, and its revision.

        Raises:
            DownloadFailed: it is not what was listed, or has no checksum.
        """
        from huggingface_hub import get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(repository, name, endpoint=self._endpoint)
        metadata = get_hf_file_metadata(url)
        remote, commit = RemoteFile(name, url, metadata.size or 0, metadata.etag or ""), metadata.commit_hash or ""
        if not (_COMMIT.fullmatch(commit) and has_hash(remote)):
            raise DownloadFailed(f"{name} has no checksum to verify it by, so it was not downloaded. Choose another.")
        if remote.size != size:
            raise DownloadFailed(
                f"{name} is not as listed: {remote.size:,} bytes instead of {size:,}. Its owner may be changing "
                "it; try again in some minutes."
            )
        return remote, commit

    def _carry(self, remote: RemoteFile, part: Path, meter: Meter, stop: Stop) -> None:
        from huggingface_hub.utils import build_hf_headers, get_session  # type: ignore[attr-defined]

        session: Any = get_session()
        transfer(remote, part, meter, session=session, headers=build_hf_headers(), stop=stop, wait=self._wait)


def _keep(part: Path, blob: Path, base: Path, commit: str, name: str) -> Path:
    """Move a complete file into the cache in the library's layout; return the folder of the revision.

    https://huggingface.co/docs/huggingface_hub/guides/manage-cache: content is in ``blobs``, and names are links to it.
    Where links are not allowed (Windows without developer mode), the file itself has the name.
    """
    snapshot = base / "snapshots" / commit
    pointer = snapshot / name
    pointer.parent.mkdir(parents=True, exist_ok=True)
    remove(pointer)
    replace(part, blob)
    with contextlib.suppress(OSError, NotImplementedError):
        pointer.symlink_to(os.path.relpath(blob, pointer.parent))
    if not pointer.is_file():
        remove(pointer)
        replace(blob, pointer)
    write_atomically(base / "refs" / "main", commit.encode("ascii"))
    return snapshot
