"""A model's small files as the installed transformers can read them: some come from newer versions, or from editors.

What is mended is a copy. The user's own files stay as they are, and the weights are read where they lie.
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
"""Bytes of a file that is copied; ``tokenizer.json`` is the largest."""
_COPIED = ("*.json", "*.model", "*.txt", "*.jinja")
_DTYPES = ("torch_dtype", "dtype")


@contextlib.contextmanager
def readable(folder: Path) -> Iterator[Path]:
    """The folder itself, or one with mended copies of all but its weights, for as long as the context lasts.

    Raises:
        ValueError: a file is damaged.
        OSError: one cannot be read or copied.
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
    """Name and content of each file that transformers could not read."""
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
    """Without a type of numbers that torch does not have ("auto"), the rotation where version 4 looks for it."""
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
    """With lists in their place of version 4, and with a class that there is."""
    mended = _with_known_class(found, folder)
    if isinstance(mended.get("extra_special_tokens"), list):
        mended.setdefault("additional_special_tokens", mended.pop("extra_special_tokens"))
    return mended


def _with_known_class(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A tokenizer of a class that came later is made from its ``tokenizer.json``, which says all that counts."""
    if (folder / TOKENIZER).is_file() and is_new_class(found.get("tokenizer_class")):
        return {**found, "tokenizer_class": "PreTrainedTokenizerFast"}
    return dict(found)


def is_new_class(name: Any) -> bool:
    """Whether this names a tokenizer that the installed transformers has never heard of."""
    import transformers
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    known = {one for pair in TOKENIZER_MAPPING_NAMES.values() for one in pair}
    return isinstance(name, str) and bool(name) and name not in known and not hasattr(transformers, name)


_MENDS: dict[str, Callable[[dict[str, Any], Path], dict[str, Any]]] = {
    "config.json": _config,
    "generation_config.json": lambda found, _: found,
    "tokenizer_config.json": _tokenizer_config,
}
