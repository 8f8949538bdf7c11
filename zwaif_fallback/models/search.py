"""Search this computer for models of all programs. Only headers are read; nothing is loaded or changed."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zwaif_fallback.models import facts_cache, gguf_names, hub_cache, ollama_store, plugin_engines, safetensors_facts
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.program_folders import (
    DOWNLOADS,
    HUB,
    JAN,
    LMSTUDIO,
    OLLAMA,
    OWN,
    Machine,
    Place,
    places,
    this_machine,
)
from zwaif_fallback.models.walk import printable, real_file, reason, walk

MOST_SECONDS = 2.0
"""Processor time per search for files that were not read before: enough for 400 normal models, or for 40 crafted to
take long. The next search continues where this one stopped."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FoundModel:
    """One model on this computer."""

    name: str
    """As the program that stored it calls it: ``llama3.2:3b``, ``owner/name``, ``Qwen3-4B-Q4_K_M``."""
    source: str
    """The program that stored it."""
    setting: str
    """Value for ``API_FALLBACK_MODEL``."""
    path: Path
    """The folder, or the GGUF file (the first part of a split one); the name of a plugin's model."""
    facts: ModelFacts
    extras: dict[str, str] = field(default_factory=dict, compare=False, hash=False)
    """Ollama's other layers as paths, by kind (``template``, ``params``, ``projector`` …)."""


@dataclass
class Findings:
    """The models found, and one line for each file that was skipped and why."""

    models: list[FoundModel] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def usable(self) -> list[FoundModel]:
        return [model for model in self.models if model.facts.usable]


def find_models(
    tree: Path | None = None,
    model_dir: str = "",
    machine: Machine | None = None,
    now: Callable[[], float] = time.thread_time,
) -> Findings:
    """Return every model in every known folder, each file once. Never raises: what cannot be read becomes one line.

    Args:
        now: processor time in seconds, for :data:`MOST_SECONDS`.
    """
    return _Search(now).run(machine or this_machine(), tree, model_dir)


class _Search:
    """One search through all folders."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._spent = 0.0
        self._postponed = 0
        self._findings = Findings()
        self._seen: set[Path] = set()

    def run(self, machine: Machine, tree: Path | None, model_dir: str) -> Findings:
        layouts: dict[str, Callable[[Place], None]] = {HUB: self._hub, OLLAMA: self._ollama}
        for place in places(machine, tree, model_dir, self._skip):
            try:
                layouts.get(place.source, self._folder)(place)
            except Exception as error:  # a problem in one program's folder must not hide all other models
                logger.debug("%s cannot be looked through", place.folder, exc_info=True)
                self._skip(place.folder, f"it cannot be searched ({type(error).__name__})")
        if self._postponed:
            self._findings.skipped.append(
                f"{self._postponed} more files were not read yet, because the others took long: search again"
            )
        for one in plugin_engines.models():
            source = f"plugin {one.plugin}"
            self._take(FoundModel(one.setting, source, one.setting, Path(one.setting), one.facts))
        return self._findings

    def _hub(self, place: Place) -> None:
        for snapshot in hub_cache.snapshots(place.folder, self._skip):
            if snapshot.is_model:
                self._add_folder(snapshot.name, place.source, snapshot.name, snapshot.folder)
            for file in snapshot.gguf:
                name = f"{snapshot.name}:{file}"
                self._add_gguf(name, place.source, name, snapshot.folder / file)

    def _ollama(self, place: Place) -> None:
        for entry in ollama_store.entries(place.folder, self._skip):
            self._add_gguf(entry.name, place.source, f"ollama:{entry.name}", entry.model, entry.layers, again=True)

    def _folder(self, place: Place) -> None:
        for folder, files in walk(place.folder, place.depth, self._skip):
            if safetensors_facts.is_model_folder(set(files)) and place.source != DOWNLOADS:
                name = printable(folder.relative_to(place.folder).as_posix() or folder.name)
                self._add_folder(name, place.source, self._setting(place, folder), folder)
            for file in files:
                path = folder / file
                if path.suffix.lower() == ".gguf" and not gguf_names.is_later_part(path):
                    self._add_gguf(_gguf_name(place, path), place.source, self._setting(place, path), path)

    def _setting(self, place: Place, path: Path) -> str:
        if place.source == LMSTUDIO:
            return f"lmstudio:{path.relative_to(place.folder).as_posix()}"
        return str(path)

    def _add_folder(self, name: str, source: str, setting: str, folder: Path) -> None:
        if folder in self._seen:
            return
        self._seen.add(folder)
        if (facts := self._facts(folder, facts_cache.folder_facts_of)) is not None:
            self._take(FoundModel(name, source, setting, folder, facts))

    def _add_gguf(
        self,
        name: str,
        source: str,
        setting: str,
        path: Path,
        extras: dict[str, str] | None = None,
        again: bool = False,
    ) -> None:
        """``again`` allows a file that was seen already: two Ollama tags of one file are two models."""
        real = real_file(path)
        if real is None:
            return self._skip(path, "is missing, or is not a regular file")
        if real in self._seen and not again:
            return None
        self._seen.add(real)
        # Use the link's own name: parts of a split model are known by their names, and a blob's name says nothing.
        if (facts := self._facts(path, facts_cache.gguf_facts_of)) is not None:
            self._take(FoundModel(name, source, setting, path, facts, extras or {}))
        return None

    def _facts(self, path: Path, facts_of: Callable[[Path], ModelFacts]) -> ModelFacts | None:
        if self._spent > MOST_SECONDS and not facts_cache.is_known(path):
            self._postponed += 1
            return None
        begun = self._now()
        try:
            return facts_of(path)
        except OSError as error:
            self._skip(path, reason(error))
        except ValueError as error:
            self._skip(path, str(error))
        finally:
            self._spent += self._now() - begun
        return None

    def _take(self, model: FoundModel) -> None:
        if printable(model.setting) != model.setting:
            return self._skip(model.path, "has a name that cannot be written as a setting: rename it")
        self._findings.models.append(model)
        return None

    def _skip(self, path: Path, why: str) -> None:
        self._findings.skipped.append(f"{printable(path)}: {printable(why)}")


def _gguf_name(place: Place, path: Path) -> str:
    """Return the file's own name, or the folder's for programs that call every file ``model.gguf``."""
    relative = path.relative_to(place.folder)
    if place.source == JAN and relative.parent.name:
        return printable(relative.parent.as_posix())
    if place.source in (LMSTUDIO, OWN) and len(relative.parts) > 1:
        return printable(relative.with_name(gguf_names.stem_of(relative.name)).as_posix())
    return printable(gguf_names.stem_of(path.name))
