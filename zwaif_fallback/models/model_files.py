"""Find a model's files and check that they are whole, before an engine loads them.

A model is a folder in transformers' form (safetensors weights) or a GGUF file. Names that users write are turned into
hub ids and paths by :mod:`zwaif_fallback.choosing.resolve_name`.
"""

from __future__ import annotations

from pathlib import Path

from zwaif_fallback.errors import ModelError, ModelNotFound
from zwaif_fallback.models.error_hints import CHECK_SETTING
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.facts_cache import gguf_facts_of
from zwaif_fallback.models.gguf_header import is_gguf
from zwaif_fallback.models.gguf_names import is_later_part
from zwaif_fallback.models.hub_cache import find_in_cache
from zwaif_fallback.models.name_syntax import is_path
from zwaif_fallback.models.safetensors_facts import INDEX, PICKLES, WEIGHT_FILES, shards_in_index, tokenizer_problem

TOKENIZER = "tokenizer.json"
"""Enough to build the whole tokenizer; other tokenizer files are converted to it while loading."""


def find_model(model: str, cache_dir: str = "") -> Path:
    """Return the folder that holds the files of ``model``: a path, or a hub id in the Hugging Face cache.

    Raises:
        ModelNotFound: there is no such folder, it has no weights, or the model is not on this computer.
        ModelError: the weights are in a format that is not loaded.
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


def check_folder(folder: Path) -> None:
    """Raise an error that names the remedy unless ``folder`` holds a complete model with safetensors weights."""
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
    """Return the weight files that the folder's index lists but that are missing."""
    index = folder / INDEX
    if (folder / "model.safetensors").exists() or not index.exists():
        return []
    try:
        shards = shards_in_index(folder)
    except (OSError, ValueError) as error:
        raise ModelError(f"{index} cannot be read ({error}). Download the model again.") from error
    return sorted(shards - {file.name for file in folder.iterdir()})


def _no_weights(folder: Path, names: list[str]) -> ModelError:
    if "adapter_config.json" in names:
        return ModelError(f"{folder} is an adapter (LoRA), which needs its base model. Choose a whole model.")
    pickles = [name for name in names if name.lower().endswith(PICKLES)]
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


def gguf_in(place: Path) -> Path | None:
    """Return the GGUF file that ``place`` is or contains; None if it is something else.

    Raises:
        ModelError: a folder with several models.
    """
    if place.is_file():
        return place if is_gguf(place) else None
    if not place.is_dir() or any(place.glob("*.safetensors")):
        return None
    found = sorted(file for file in place.glob("*.gguf") if not is_later_part(file))
    chat = [file for file in found if not _gguf_problem(file)] or found
    if len(chat) > 1:
        names = ", ".join(file.name for file in chat[:4])
        raise ModelError(f"{place} holds several models ({names}). Set API_FALLBACK_MODEL to one of these files.")
    return chat[0] if chat else None


def read_facts(path: Path) -> ModelFacts:
    """Return the facts of a GGUF model that can be used.

    Raises:
        ModelNotFound: there is no such file.
        ModelError: the file is damaged, incomplete, or not a chat model.
    """
    if not path.is_file():
        raise ModelNotFound(f"There is no file {path}. {CHECK_SETTING}")
    try:
        facts = gguf_facts_of(path)
    except ValueError as error:
        raise ModelError(f"{path} cannot be used: {error}. Download the model again.") from error
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}). Check the disk and who may read the file."
        ) from error
    if facts.problem:
        remedy = "Download the model again." if "not complete" in facts.problem else "Choose another model."
        raise ModelError(f"{path} {facts.problem}. {remedy}")
    return facts


def is_gguf_model(place: Path) -> bool:
    """Return whether ``place`` is a GGUF file or a folder of GGUF files."""
    try:
        return gguf_in(place) is not None
    except ModelError:  # several models: loading tells the user
        return True


def _gguf_problem(file: Path) -> str:
    try:
        return gguf_facts_of(file).problem
    except (ValueError, OSError) as error:
        return str(error)
