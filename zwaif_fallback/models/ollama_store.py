"""Ollama's store: one JSON manifest per name, whose layers are files in ``blobs``. The model itself is a plain GGUF.

Layout: https://github.com/ollama/ollama/blob/main/types/model/name.go (names and manifest paths) and
https://github.com/ollama/ollama/blob/main/server/manifest.go (manifest contents).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zwaif_fallback.models.walk import Skip, reason, walk
from zwaif_hooks.storage import bounded

_LAYER = "application/vnd.ollama.image."
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_LONGEST_MANIFEST = 1 << 20
DEFAULT_HOST, DEFAULT_OWNER, DEFAULT_TAG = "registry.ollama.ai", "library", "latest"


@dataclass(frozen=True)
class OllamaModel:
    """One name in the store."""

    name: str
    """As ``ollama list`` shows it."""
    model: Path
    """The GGUF blob."""
    layers: dict[str, str]
    """The other layers as paths, by kind (``template``, ``params``, ``projector`` …)."""


def entries(store: Path, skip: Skip) -> Iterator[OllamaModel]:
    """Yield every name whose model is stored here."""
    for folder, files in walk(store / "manifests", 6, skip):
        for file in files:
            place = folder / file
            try:
                entry = read_manifest(store, place)
            except OSError as error:
                skip(place, reason(error))
            except ValueError as error:
                skip(place, str(error).splitlines()[0] or "is damaged")
            else:
                yield entry


def read_manifest(store: Path, place: Path) -> OllamaModel:
    """Read one manifest.

    Raises:
        ValueError: it is not a manifest, or has no local model.
        OSError: it cannot be read.
    """
    try:
        layers = bounded.read_json(place, _LONGEST_MANIFEST)["layers"]
        found = {_kind(layer): _blob(store, layer) for layer in layers}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("is not an Ollama manifest") from error
    model = found.pop("model", None)
    if model is None:
        raise ValueError("has no model on this computer (it runs in the cloud, or is in another format)")
    return OllamaModel(
        name_of(place.relative_to(store / "manifests")), model, {kind: str(at) for kind, at in found.items()}
    )


def name_of(manifest: Path) -> str:
    """Turn ``registry.ollama.ai/library/llama3.2/3b`` into ``llama3.2:3b``."""
    *path, tag = manifest.parts
    if path[:1] == [DEFAULT_HOST]:
        path = path[1:]
        if path[:1] == [DEFAULT_OWNER]:
            path = path[1:]
    return f"{'/'.join(path)}:{tag}"


def full_name(name: str) -> str:
    """Return a user's spelling in lower case with its tag: ``llama3.2`` becomes ``llama3.2:latest``."""
    wanted = name.strip().strip("\"'").strip().casefold().removeprefix("http://").removeprefix("https://")
    for default in (f"{DEFAULT_HOST}/", f"{DEFAULT_OWNER}/"):
        wanted = wanted.removeprefix(default)
    return wanted if ":" in wanted.rpartition("/")[2] else f"{wanted}:{DEFAULT_TAG}"


def _kind(layer: dict[str, Any]) -> str:
    kind = layer["mediaType"]
    if not isinstance(kind, str):
        raise TypeError("a layer's kind is no text")
    return kind.removeprefix(_LAYER)


def _blob(store: Path, layer: dict[str, str]) -> Path:
    match = _DIGEST.fullmatch(layer["digest"])
    if match is None:  # Only a blob's name is allowed: a manifest must not point to files elsewhere.
        raise ValueError("names a layer that is not a blob")
    return store / "blobs" / f"sha256-{match[1]}"
