"""The models of plugins' engines: ``NAME:model``. What is not declared by a plugin of this process does not exist."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zwaif_fallback.models.facts import PLUGIN, ModelFacts
from zwaif_hooks.engines import EngineModel, EngineSpec
from zwaif_hooks.plugins.discovery import single_file

_NAME = re.compile(r"[a-z][a-z0-9_-]+:.+", re.IGNORECASE)

Declared = Callable[[], Sequence[tuple[str, EngineSpec]]]
"""Returns the engines that are declared now, each with the name of its plugin."""

_declared: Declared = tuple


class PluginModel(NamedTuple):
    """One model of a plugin's engine."""

    plugin: str
    engine: EngineSpec
    model: EngineModel

    @property
    def setting(self) -> str:
        """Value for ``API_FALLBACK_MODEL``; also what is loaded."""
        return f"{self.engine.name}:{self.model.name}"

    @property
    def facts(self) -> ModelFacts:
        size, window = self.model.memory_bytes, self.model.context_window
        return ModelFacts(PLUGIN, architecture=self.engine.name, window=window, weights=size, has_template=True)


def use(source: Declared) -> None:
    """Ask ``source`` from now on. It is called each time, so that a plugin may join late and its models may change."""
    global _declared
    _declared = source


def declared() -> list[tuple[str, EngineSpec]]:
    """Return the engines that are declared now, each with the name of its plugin."""
    return list(_declared())


def models() -> list[PluginModel]:
    """Return every model of every plugin's engine."""
    return [PluginModel(plugin, engine, model) for plugin, engine in declared() for model in engine.models]


def order_for(model: str) -> dict[str, dict[str, str]]:
    """Return what a worker process needs to run this model, as a field of its request; empty if it is not a plugin's.

    Nothing but a plugin's own declaration names code to run: neither the page nor a model's file can.
    """
    if (found := find(model)) is None:
        return {}
    engine = found.engine
    made = {"plugin": found.plugin, "factory": engine.factory, "model": found.model.name, "engine": engine.name}
    return {"by_plugin": {**made, "file": single_file(found.plugin, engine.factory.partition(":")[0])}}


def blame(model: str) -> str:
    """Return how a line about a fault of this model begins: ``Plugin 'echo': ``; empty if no plugin runs it."""
    found = find(model)
    return f"Plugin {found.plugin!r}: " if found is not None else ""


def who_runs(model: str) -> str:
    """Return what runs this model, to begin a line for the user."""
    blamed = blame(model)
    return f"{blamed}its engine" if blamed else "The local model"


def find(name: str) -> PluginModel | None:
    """Return the model with this whole name, in any case; None if it is not a plugin's."""
    wanted = name.strip().casefold()
    if not _NAME.fullmatch(wanted):
        return None  # almost always; plugins need not be asked
    return next((one for one in models() if one.setting.casefold() == wanted), None)
