"""Checks of the local model: name, files, memory, speed, and the disk it is on."""

from __future__ import annotations

from pathlib import Path

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.memory_fit import ON_CPU, ON_GPU, PARTLY, TALKING_SPEED, TOO_BIG, Fit, fit
from zwaif_fallback.choosing.no_model_chosen import MODEL, is_chosen
from zwaif_fallback.choosing.suggestions import nothing_here, suggest_found_model
from zwaif_fallback.doctor.findings import Finding, ok, skipped
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.errors import FallbackError, ModelNotFound
from zwaif_fallback.install_hints import GGUF_ENGINE
from zwaif_fallback.local import preload_policy, standby_policy
from zwaif_fallback.models import catalogue, plugin_engines
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.facts_cache import folder_facts_of, gguf_facts_of
from zwaif_fallback.models.model_files import check_folder, gguf_in, read_facts
from zwaif_fallback.models.search import find_models

_GB = 1e9
_ROOM = 2 * _GB
"""Free bytes on the disk below which there is a warning, even if nothing is to be downloaded."""
_CHOOSE = "Choose another model: zwaif-fallback models lists some. Then: zwaif-fallback settings set API_FALLBACK_MODEL"
_LINES = 20
"""Most lines for files that were left out."""
_NO_VOICE = "Without a model or a second server, the companion can only say a short line in an outage."


def check_model_name(here: Situation) -> Finding:
    if isinstance(here.model, ModelNotFound):
        text, _, remedy = str(here.model).partition(". ")
        setting = f"{MODEL} is {here.text(MODEL)!r}: "
        return Finding("problem", f"{setting}{text[0].lower()}{text[1:]}.", _NO_VOICE, remedy or _CHOOSE)
    if here.notice:
        return ok(here.notice)
    wanted = here.text(MODEL)
    if not is_chosen(here.env):
        return ok(f"{MODEL} is not set: the default model answers, or if it is not here, the best one that is")
    return ok(f"API_FALLBACK_MODEL is {wanted}" + (f": {here.model}" if here.model != wanted else ""))


def check_model_files(here: Situation) -> Finding:
    if isinstance(here.model, ModelNotFound):
        return skipped("depends on the model's name")
    if (declared := plugin_engines.find(here.model)) is not None:
        return ok(f"{declared.setting} is run by the engine of plugin {declared.plugin!r}")
    facts = None
    try:
        if here.place is None:
            raise resolve_name.not_here(here.model) if is_chosen(here.env) else nothing_here(here.constraints)
        if file := gguf_in(here.place):
            facts = read_facts(file)
        else:
            check_folder(here.place)
    except FallbackError as error:
        text, _, remedy = str(error).partition(". ")
        other = suggest_found_model(here.tree, here.text("FALLBACK_MODEL_DIR")) if here.place is None else ""
        remedies = (remedy or f"zwaif-fallback download {here.model}", other)
        return Finding("problem", f"{text}.", _NO_VOICE, ". ".join(one for one in remedies if one))
    return ok(f"{here.title} is on this computer" + (f" ({facts.quantization})" if facts else ", with all its files"))


def check_found_models(here: Situation) -> Finding:
    """Count the models on this computer. An unreadable file is no problem, as nobody chose it."""
    findings = find_models(here.tree, here.text("FALLBACK_MODEL_DIR"))
    left_out = len(findings.skipped)
    usable = len(findings.usable())
    found = f"{usable} {'model' if usable == 1 else 'models'} on this computer can be used" + (
        f"; {left_out} {'file was' if left_out == 1 else 'files were'} left out:" if left_out else ""
    )
    return Finding("ok", found, details=tuple(findings.skipped[:_LINES]))


def _fit(here: Situation) -> Fit | None:
    """Return how the model fits into the free memory; None if it is not here or cannot be read."""
    facts = _facts(here)
    if facts is None or facts.problem:
        return None
    return fit(
        facts,
        here.memory(),
        **here.constraints.load_settings,
        can=here.abilities(),
    )


def _facts(here: Situation) -> ModelFacts | None:
    if isinstance(here.model, ModelNotFound):
        return None
    if (declared := plugin_engines.find(here.model)) is not None:
        return declared.facts
    if here.place is None:
        return None
    try:
        return gguf_facts_of(here.gguf) if here.gguf else folder_facts_of(here.place)
    except (OSError, ValueError, FallbackError):  # broken files; check_model_files reports them
        return None


def check_memory(here: Situation) -> Finding:
    how = _fit(here)
    if how is None:
        return skipped("depends on the model, which is not on this computer or cannot be read")
    if not how.need.total:
        return skipped("the plugin that runs the model does not say how much memory it needs")
    memory = here.memory()
    card = memory.best_gpu
    free = f"{memory.ram_free / _GB:.1f} GB of memory" + (f", {card.free / _GB:.1f} GB on {card.name}" if card else "")
    found = f"{how.need.total / _GB:.1f} GB needed; free: {free}"
    if (
        here.store.get("API_FALLBACK_STANDBY")
        and memory.ram_free < preload_policy.spare(memory) + standby_policy.MOST_BYTES
    ):
        found += ", too little for a standby process"
    smaller = f"Close other programs, or choose a smaller model. {_CHOOSE}"
    if how.verdict == TOO_BIG:
        return Finding("problem", found, "The model cannot be loaded.", smaller)
    kept_off = here.text("API_FALLBACK_DEVICE") == "cpu"
    if card is not None and how.verdict != ON_GPU and not kept_off:
        where = "partly on the card" if how.verdict == PARTLY else "on the processor"
        return Finding("warning", found, f"The model runs {where}, and slower than it could be.", smaller)
    return ok(found)


def check_disk(here: Situation) -> Finding:
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    free = here.free_bytes(existing)
    found = f"{free / _GB:.1f} GB free at {cache}"
    needed = 0.0
    if here.place is None:
        offer = catalogue.find(here.text("API_FALLBACK_MODEL"))
        needed = offer.weights_gb["none"] * _GB if offer and offer.weights_gb else 0.0
    if needed and free < needed:
        return Finding(
            "problem",
            f"{found}, but the model to download needs {needed / _GB:.1f} GB",
            "The download cannot be finished.",
            "Free some space, or set HF_HOME to a folder on a larger disk.",
        )
    if free < _ROOM:
        return Finding(
            "warning",
            found,
            "There is no room for another model, and Z-Waif needs some for its logs.",
            "Free some space, or set HF_HOME to a folder on a larger disk.",
        )
    return ok(found)


def check_speed(here: Situation) -> Finding:
    """Check the speed. On a processor, a GGUF file is several times as fast as the same model in safetensors."""
    how = _fit(here)
    if how is None or not how.fits:
        return skipped("depends on the model, which cannot be loaded now")
    if how.verdict != ON_CPU:
        return ok(how.text)
    if here.gguf is None:
        install = "" if here.version_of("xllamacpp") else f"{GGUF_ENGINE}, then "
        return Finding(
            "warning",
            f"a safetensors model on the processor ({how.text})",
            "It works, but a GGUF file of the same size is several times as fast there.",
            f"{install}choose a GGUF model: zwaif-fallback models lists those on this computer.",
        )
    if how.tokens_per_second < TALKING_SPEED:
        return Finding(
            "warning",
            how.text,
            f"Speech will have gaps: it needs about {TALKING_SPEED:.0f} tokens a second.",
            f"Choose a smaller model. {_CHOOSE}",
        )
    return ok(how.text)
