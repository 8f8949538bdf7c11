"""The list of models as plain data: found on this computer and offered for download, each with whether it fits now."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import Constraints, env_values, is_auto, loadable, pick
from zwaif_fallback.choosing.memory_fit import Fit, fit
from zwaif_fallback.choosing.no_model_chosen import MODEL, is_chosen, may_use_found_model, notice, resolve_or_default
from zwaif_fallback.choosing.ranking import Choice
from zwaif_fallback.choosing.server_model import served_model
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory, memory_now
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.facts import PLUGIN
from zwaif_fallback.models.memory import planned_facts
from zwaif_fallback.models.search import FoundModel, find_models
from zwaif_fallback.models.short_names import short_names

Row = dict[str, Any]


def listed_now(setting: Callable[[str], Any], tree: Path | None, values: Mapping[str, str]) -> Row:
    """Return the list for a Z-Waif, given a function for settings and the values of its ``.env`` and environment."""
    return model_list(str(setting(MODEL)), Constraints.of(setting, tree), named=is_chosen(values))


def model_list(chosen: str, constraints: Constraints, memory: Memory | None = None, named: bool = True) -> Row:
    """Return everything that ``zwaif-fallback models`` shows.

    Args:
        chosen: ``API_FALLBACK_MODEL`` as set.
        named: whether the user set it; else it is the default.

    Returns:
        ``found`` and ``offered`` (rows), ``auto`` (what it would choose), ``chosen``, ``memory`` and ``skipped``. The
        row of the model that answers is marked ``chosen``; ``short`` and ``number`` are names for the command line, and
        only models that can be used or downloaded have a number.
    """
    memory = memory or memory_now()
    findings = find_models(constraints.tree, constraints.model_dir)
    choice = pick(findings.models, constraints, memory)
    resolved = _resolved(chosen, constraints, choice)
    instead = choice if choice and may_use_found_model(resolved, named) else None
    resolved = loadable(instead.model) if instead else resolved
    served = served_model(env_values(constraints.tree), findings.models)
    usable = findings.usable()
    short = {model.setting: name for model, name in zip(usable, short_names(usable), strict=True)}
    found = [
        {"short": short.get(model.setting, model.setting), **_found(model, memory, constraints, resolved, served)}
        for model in findings.models
    ]
    offered = [_offered(offer, memory, constraints, resolved) for offer in catalogue.OFFERS if offer.parameters]
    found.sort(key=lambda row: (not row["usable"], row["source"], row["name"].casefold()))
    _number([row for row in found if row["usable"]] + [row for row in offered if not row["here"]])
    return {
        "chosen": {
            "setting": chosen,
            "named": named,
            "resolved": resolved or None,
            "here": _is_here(resolved),
            "notice": notice(instead.model.setting, chosen) if instead else "",
        },
        "auto": {"setting": choice.model.setting, "why": choice.why} if choice else None,
        "memory": asdict(memory),
        "found": found,
        "offered": offered,
        "skipped": findings.skipped,
    }


def _number(rows: list[Row]) -> None:
    """Number the rows of usable models for the command line."""
    for number, row in enumerate(rows, 1):
        row["number"] = number


def _resolved(chosen: str, constraints: Constraints, choice: Choice | None) -> str:
    if is_auto(chosen):
        return loadable(choice.model) if choice else ""
    try:
        return resolve_or_default(chosen, constraints)
    except ModelNotFound:
        return ""


def _is_here(resolved: str) -> bool:
    return bool(resolved) and resolve_name.is_on_this_machine(resolved)


def _found(
    model: FoundModel, memory: Memory, constraints: Constraints, resolved: str, served: FoundModel | None
) -> Row:
    facts = model.facts
    return {
        "name": model.name,
        "source": model.source,
        "setting": model.setting,
        "path": "" if facts.format == PLUGIN else str(model.path),
        "format": facts.format,
        "architecture": facts.architecture,
        "parameters": facts.parameters,
        "quantization": facts.quantization,
        "context_window": facts.window,
        "size_bytes": facts.size,
        "chat_template": facts.has_template,
        "usable": facts.usable,
        "problem": facts.problem,
        "chosen": bool(resolved) and resolved in (str(model.path), str(model.path.resolve()), model.setting),
        "served": model is served,
        **_fit_row(fit(facts, memory, **constraints.load_settings)),
    }


def _offered(offer: catalogue.Offer, memory: Memory, constraints: Constraints, resolved: str) -> Row:
    facts = planned_facts(offer)
    return {
        "name": offer.name,
        "title": offer.title,
        "short": offer.short,
        "parameters": facts.parameters,
        "format": offer.format,
        "download_bytes": facts.size,
        "memory_gb": offer.memory_gb,
        "memory_when": offer.memory_when,
        "context_window": offer.context_window,
        "licence": offer.licence,
        "gated": offer.gated,
        "quality": offer.quality,
        "use": offer.use,
        "note": offer.note,
        "here": resolve_name.is_on_this_machine(offer.name),
        "chosen": offer.name == resolved,
        **_fit_row(fit(facts, memory, **constraints.load_settings)),
    }


def _fit_row(how: Fit) -> Mapping[str, Any]:
    return {
        "fit": how.text,
        "fits": how.fits,
        "memory_bytes": how.need.total,
        "planned_window": how.window,
        "tokens_per_second": round(how.tokens_per_second, 1) or None,
    }
