"""A model's folder for the transformers engine: where it is, and whether it is whole. Nothing heavy is imported.

What the user wrote was made a hub id or a path before, by :mod:`zwaif_fallback.choosing.resolve_name`.
"""

from __future__ import annotations

import re
from pathlib import Path

from zwaif_fallback.errors import ModelError, ModelNotFound
from zwaif_fallback.models.catalogue import DEFAULT as DEFAULT_MODEL
from zwaif_fallback.models.safetensors_facts import tokenizer_problem
from zwaif_hooks.storage import bounded

CHECK_SETTING = f"Check that API_FALLBACK_MODEL is set correctly; the default is {DEFAULT_MODEL}."
SMALLER = "Close other programs, or choose a smaller model: zwaif-fallback models says which fit."
WEIGHT_FILES = "model*.safetensors"
"""The files transformers reads. Some models add ``consolidated*``, the same weights again in another order."""
NEEDED_FILES = ["*.json", WEIGHT_FILES, "*.model", "*.txt", "*.jinja"]
"""What a download fetches: never pickled weights, never code."""

TOKENIZER = "tokenizer.json"
"""All of a tokenizer. Other files of one are made into it while it is loaded."""
_PICKLES = (".bin", ".pt", ".pth", ".ckpt")
_LOOKS_LIKE_PATH = re.compile(r"^(?:[./~]|[A-Za-z]:)|\\")


def is_path(model: str) -> bool:
    """True when ``model`` means a place on this machine and not a hub id (``owner/name``)."""
    return bool(_LOOKS_LIKE_PATH.search(model)) or Path(model).exists()


def find_model(model: str, cache_dir: str = "") -> Path:
    """Return the folder that holds the files of ``model``: a path, or a hub id in the Hugging Face cache.

    Raises:
        ModelNotFound: no such folder, no weights in it, or not on this machine.
        ModelError: the weights are there in a form that is not loaded.
    """
    model = model.strip()
    if not model:
        raise ModelError(f"No fallback model is chosen. {CHECK_SETTING}")
    if is_path(model):
        folder = Path(model).expanduser().resolve()
        check_folder(folder)
        return folder
    _check_hub_id(model)
    cached = find_in_cache(model, cache_dir)
    if cached is None:
        raise ModelNotFound(
            f"{model} is not on this machine yet. Press Load Model in Z-Waif's Settings tab, or run: "
            f"zwaif-fallback download {model}"
        )
    check_folder(cached)
    return cached


def find_in_cache(model: str, cache_dir: str = "") -> Path | None:
    """The newest folder of a hub model in the Hugging Face cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, "config.json", cache_dir=cache_dir or None)
    return Path(found).parent if isinstance(found, str) else None


def check_folder(folder: Path) -> None:
    """Raise the exact remedy unless ``folder`` holds a whole model with safetensors weights."""
    if not folder.exists():
        raise ModelNotFound(f"There is no folder {folder}. {CHECK_SETTING}")
    if not folder.is_dir():
        raise ModelError(f"{folder} is a file; the fallback needs the model's folder. {CHECK_SETTING}")
    names = sorted(file.name for file in folder.iterdir())
    if not any(folder.glob(WEIGHT_FILES)):
        raise _no_weights(folder, names)
    if "config.json" not in names:
        raise ModelNotFound(f"{folder} has weights but no config.json. Download the model again, with all its files.")
    if problem := tokenizer_problem(names):
        raise ModelNotFound(f"{folder} cannot be used: it {problem}. Download the model again, with all its files.")
    if missing := missing_shards(folder):
        raise ModelNotFound(
            f"{folder} is not complete: {missing[0]} is missing ({len(missing)} in all). Download the model again."
        )


def missing_shards(folder: Path) -> list[str]:
    """Weight files that the folder's index names and that are not there."""
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").exists() or not index.exists():
        return []
    try:
        shards = {str(name) for name in bounded.read_json(index)["weight_map"].values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(f"{index} cannot be read ({error}). Download the model again.") from error
    return sorted(shards - {file.name for file in folder.iterdir()})


def _no_weights(folder: Path, names: list[str]) -> ModelError:
    if "adapter_config.json" in names:
        return ModelError(f"{folder} is an adapter (LoRA), which needs its base model. Choose a whole model.")
    pickles = [name for name in names if name.lower().endswith(_PICKLES)]
    if pickles:
        return ModelError(
            f"{folder} holds only pickled weights ({pickles[0]}). They can run any code when loaded, so they are "
            "not loaded. Choose a model that offers .safetensors files."
        )
    return ModelNotFound(f"There are no weights (*.safetensors) in {folder}. {CHECK_SETTING}")


def _check_hub_id(model: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(model)
    except HFValidationError as error:
        first = str(error).split(":")[0]
        raise ModelError(f"{model!r} is not a model name ({first}). {CHECK_SETTING}") from error
