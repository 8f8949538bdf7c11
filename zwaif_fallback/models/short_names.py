"""Short names for models on this computer: the name that its program shows, or that of its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.program_folders import HUB, OLLAMA
from zwaif_fallback.models.search import FoundModel

_ANY_FILE = "model"
"""The name of the file in programs that name the folder instead."""


def short_names(models: Sequence[FoundModel]) -> list[str]:
    """Return the shortest unambiguous name of each model: ``llama3.2:3b``, ``Qwen3-4B-Q4_K_M``.

    If the short name could also mean a second model, an offer or a row number, this is the full setting.
    """
    short = [_short(model) for model in models]
    often = Counter(name.casefold() for name in short)
    return [
        name if often[name.casefold()] == 1 and not _means_something_else(name, model) else model.setting
        for name, model in zip(short, models, strict=True)
    ]


def find_called(name: str, models: Sequence[FoundModel]) -> FoundModel | None:
    """Return the model with this name, ignoring case; None if there is none.

    Raises:
        ModelNotFound: several models have this name.
    """
    wanted = name.strip().casefold()
    for names in ([one.setting for one in models], [_short(one) for one in models], [one.name for one in models]):
        found = [model for model, known in zip(models, names, strict=True) if known.casefold() == wanted]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(sorted(model.setting for model in found))
            raise ModelNotFound(f"Several models are called {name}. Name one of these: {listed}")
    return None


def _short(model: FoundModel) -> str:
    if model.source == OLLAMA:
        return model.name
    if model.source == HUB and ":" in model.name:
        return model.name.rpartition(":")[2].removesuffix(".gguf")
    last = model.name.rpartition("/")[2]
    return model.name if last.casefold() == _ANY_FILE else last


def _means_something_else(name: str, model: FoundModel) -> bool:
    offer = catalogue.find(name)
    return name.isdigit() or (offer is not None and offer.name != model.setting)
