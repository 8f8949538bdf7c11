"""The chosen model and the room for it: name, files, memory, disk, and what would be quicker."""

from __future__ import annotations

from pathlib import Path

from zwaif_fallback import catalogue, model_files
from zwaif_fallback.doctor.findings import Finding, Situation, ok, skipped
from zwaif_fallback.engines.model_files import check_folder
from zwaif_fallback.errors import FallbackError, ModelNotFound
from zwaif_fallback.hardware import Estimate, estimate_memory

_GB = 1e9
_ROOM = 2 * _GB
"""Bytes on the disk below which it is worth a word, even when nothing is to be downloaded."""
_CHOOSE = "Choose another model: zwaif-fallback models lists some. Then: zwaif-fallback settings set API_FALLBACK_MODEL"
_NO_VOICE = "Without it, and without a fallback host, an outage is answered with a last word only."


def _resolved(here: Situation) -> str:
    """What ``API_FALLBACK_MODEL`` means.

    Raises:
        ModelNotFound: nothing.
    """
    return model_files.resolve(here.text("API_FALLBACK_MODEL"), here.tree, here.text("FALLBACK_MODEL_DIR"))


def _place(here: Situation) -> Path | None:
    """Where the model's files are; ``None`` where they are not here, or the name means nothing."""
    try:
        model = _resolved(here)
    except ModelNotFound:
        return None
    return Path(model) if Path(model).is_absolute() else model_files.cached_snapshot(model)


def check_model_name(here: Situation) -> Finding:
    try:
        return ok(f"API_FALLBACK_MODEL is {_resolved(here)}")
    except ModelNotFound as error:
        text, _, remedy = str(error).partition(". ")
        return Finding("problem", f"{text}.", _NO_VOICE, remedy or _CHOOSE)


def check_model_files(here: Situation) -> Finding:
    try:
        model = _resolved(here)
    except ModelNotFound:
        return skipped("which files depends on the model's name")
    place = _place(here)
    if place is None:
        text, _, remedy = str(model_files.not_here(model)).partition(". ")
        return Finding("problem", f"{text}.", _NO_VOICE, remedy)
    if _is_gguf(place):
        return ok(f"{model} is on this computer (GGUF)")
    try:
        check_folder(place)
    except FallbackError as error:
        text, _, remedy = str(error).partition(". ")
        return Finding("problem", f"{text}.", _NO_VOICE, remedy or f"zwaif-fallback download {model}")
    return ok(f"{model} is on this computer, all its files are there")


def check_memory(here: Situation) -> Finding:
    place = _place(here)
    if place is None:
        return skipped("how much depends on the model, which is not on this computer")
    need = _need(here, place)
    if need is None:
        return skipped(f"the size of {place.name} cannot be read")
    memory = here.memory()
    wanted, card = need.total / _GB, memory.best_gpu
    smaller = f"Close other programs, or choose a smaller model. {_CHOOSE}"
    if card is not None and here.text("API_FALLBACK_DEVICE") != "cpu":
        if need.total <= card.free:
            return ok(f"{wanted:.1f} GB needed, {card.free / _GB:.1f} GB free on {card.name}")
        found = f"{wanted:.1f} GB needed, only {card.free / _GB:.1f} GB free on {card.name}"
        if need.total <= memory.ram_free:
            return Finding("warning", found, "The model runs on the processor, wholly or in part, and slower.", smaller)
        return Finding("problem", found, "The model cannot be loaded.", smaller)
    if need.total <= memory.ram_free:
        return ok(f"{wanted:.1f} GB needed, {memory.ram_free / _GB:.1f} GB of memory free")
    found = f"{wanted:.1f} GB needed, only {memory.ram_free / _GB:.1f} GB of memory free"
    return Finding("problem", found, "The model cannot be loaded, or the computer slows to a crawl.", smaller)


def _need(here: Situation, place: Path) -> Estimate | None:
    if _is_gguf(place):
        file = place if place.is_file() else max(place.glob("*.gguf"), key=lambda one: one.stat().st_size)
        return Estimate(weights=file.stat().st_size, kv_cache=0)
    four_bit = "4bit" if here.cards and here.text("API_FALLBACK_QUANTIZATION") != "none" else ""
    window = int(here.store.get("API_FALLBACK_CONTEXT_WINDOW")) or 2048
    try:
        return estimate_memory(place, quantization=four_bit, context_window=window)
    except (OSError, ValueError, KeyError):  # Broken files; check_model_files says which.
        return None


def _is_gguf(place: Path) -> bool:
    return place.suffix.lower() == ".gguf" or (place.is_dir() and any(place.glob("*.gguf")))


def check_disk(here: Situation) -> Finding:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = here.free_bytes(existing)
    found = f"{free / _GB:.1f} GB free at {cache}"
    needed = 0.0
    if _place(here) is None:
        offer = catalogue.find(here.text("API_FALLBACK_MODEL"))
        needed = offer.weights_gb["none"] * _GB if offer and offer.weights_gb else 0.0
    if needed and free < needed:
        return Finding(
            "problem",
            f"{found}, and the model to be downloaded has {needed / _GB:.1f} GB",
            "The download cannot be finished.",
            "Free some space, or let HF_HOME name a folder on a larger disk.",
        )
    if free < _ROOM:
        return Finding(
            "warning",
            found,
            "No further model fits, and Z-Waif itself needs room for its logs.",
            "Free some space, or let HF_HOME name a folder on a larger disk.",
        )
    return ok(found)


def check_speed(here: Situation) -> Finding:
    """Safetensors on a processor: a GGUF of the same model is several times as fast."""
    place = _place(here)
    if place is None:
        return skipped("how fast depends on the model, which is not on this computer")
    on_card = bool(here.cards) and here.text("API_FALLBACK_DEVICE") != "cpu"
    if on_card or _is_gguf(place):
        return ok("runs on the graphics card" if on_card else "GGUF, the quickest way on a processor")
    has_engine = here.version_of("xllamacpp") is not None
    install = "" if has_engine else 'pip install "zwaif-fallback[gguf]", then '
    return Finding(
        "warning",
        "a safetensors model will run on the processor",
        "It answers, but a GGUF file of the same size speaks several times as fast there.",
        f"{install}choose a GGUF model: zwaif-fallback models lists those on this computer.",
    )
