"""Repair a model's small files for the installed transformers: some come from newer versions, some from editors.

Only copies are changed. The user's own files stay as they are, and the weights are read in place.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from zwaif_fallback.models.model_files import TOKENIZER
from zwaif_hooks.storage import bounded

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MOST_SMALL = 64 * 1024 * 1024
"""Most bytes of a copied file; ``tokenizer.json`` is the largest."""
_COPIED = ("*.json", "*.model", "*.txt", "*.jinja")
_DTYPES = ("torch_dtype", "dtype")


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[Path]:
    """Yield the folder itself, or a temporary one with repaired copies of all files but the weights.

    Raises:
        ValueError: a file is damaged.
        OSError: a file cannot be read or copied.
    """
    mended = dict(_mended(folder))
    if not mended:
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="zwaif-model-", ignore_cleanup_errors=True) as name:
        copy = Path(name)
        for pattern in _COPIED:
            for file in folder.glob(pattern):
                if file.is_file() and file.name not in mended and file.stat().st_size <= MOST_SMALL:
                    shutil.copyfile(file, copy / file.name)
        for file_name, data in mended.items():
            (copy / file_name).write_bytes(data)
        yield copy


def _mended(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yield name and repaired content of each file that transformers could not read."""
    for file in (*folder.glob("*.json"), *folder.glob("*.jinja")):
        begins_with_mark = _start_of(file) == BYTE_ORDER_MARK
        mend = _MENDS.get(file.name)
        if mend is not None:
            found = bounded.read_json(file)
            mended = mend(found, folder) if isinstance(found, dict) else found
            if begins_with_mark or mended != found:
                yield file.name, json.dumps(mended).encode()
        elif begins_with_mark:
            yield file.name, bounded.read_bytes(file, MOST_SMALL).removeprefix(BYTE_ORDER_MARK)


def _start_of(file: Path) -> bytes:
    with bounded.open_plain(file) as stream:
        return stream.read(len(BYTE_ORDER_MARK))


def _config(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Remove number types that torch does not have ("auto"), and put rotary settings where version 4 expects them."""
    import torch

    mended = _with_known_class(found, folder)
    mended |= {key: _config(value, folder) for key, value in found.items() if isinstance(value, dict)}
    for key in _DTYPES:
        name = str(mended.get(key) or "float32").removeprefix("torch.")
        if not isinstance(getattr(torch, name, None), torch.dtype):
            del mended[key]
    rotation = mended.get("rope_parameters")
    if isinstance(rotation, dict) and "rope_theta" in rotation:
        mended["rope_theta"] = mended.get("rope_theta") or rotation["rope_theta"]
        if rotation.get("rope_type", "default") != "default":
            mended["rope_scaling"] = mended.get("rope_scaling") or rotation
    return mended


def _tokenizer_config(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Put lists where version 4 expects them, and use a class that exists."""
    mended = _with_known_class(found, folder)
    if isinstance(mended.get("extra_special_tokens"), list):
        mended.setdefault("additional_special_tokens", mended.pop("extra_special_tokens"))
    return mended


def _with_known_class(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Replace a newer tokenizer class by one that is built from ``tokenizer.json``, which has everything needed."""
    if (folder / TOKENIZER).is_file() and is_new_class(found.get("tokenizer_class")):
        return {**found, "tokenizer_class": "PreTrainedTokenizerFast"}
    return dict(found)


def is_new_class(name: Any) -> bool:
    """Return whether this names a tokenizer class that the installed transformers does not have."""
    import transformers
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    known = {one for pair in TOKENIZER_MAPPING_NAMES.values() for one in pair}
    return isinstance(name, str) and bool(name) and name not in known and not hasattr(transformers, name)


_MENDS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "config.json": _config,
    "generation_config.json": lambda found, _: found,
    "tokenizer_config.json": _tokenizer_config,
}
