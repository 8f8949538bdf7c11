"""The models there are: found on this computer, and offered for download; each with how it fits now.

What looks at models is imported when somebody looks: Z-Waif's start builds the page, and waits for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zwaif_fallback import catalogue, model_files
from zwaif_fallback.catalogue import CUSTOM, Offer
from zwaif_fallback.hardware import Memory, memory_now
from zwaif_fallback.models.auto import AUTO, env_values
from zwaif_fallback.ui.allowed import resolve
from zwaif_fallback.ui.changes import MODEL
from zwaif_hooks.host.settings import SettingsStore

if TYPE_CHECKING:
    from zwaif_fallback.measured import Measurement
    from zwaif_fallback.models.facts import ModelFacts
    from zwaif_fallback.models.fit import Abilities, Choice, Fit
    from zwaif_fallback.models.found import Findings, FoundModel

SEARCH_AGAIN = 20.0
"""Seconds for which a look at the disks counts."""
ASK_AGAIN = 3.0
"""Seconds for which a look at the free memory counts."""


class Shelf:
    """Thread-safe. The first look at a disk may take a second; the page calls this in worker threads only."""

    def __init__(
        self,
        settings: SettingsStore,
        tree: Path,
        find: Callable[[Path, str], Findings] | None = None,
        memory: Callable[[], Memory] = memory_now,
        can: Callable[[], Abilities] | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self.tree = settings, tree
        self._find, self._ask_memory, self._abilities, self._now = find or _find, memory, can or _abilities, now
        self._lock = threading.Lock()
        self._found: list[FoundModel] | None = None
        self._searched = self._asked = float("-inf")
        self._memory = Memory(0, 0)
        self._order: list[str] = []
        self._labels: dict[str, str] = {}
        """What each label that was ever shown stands for: Gradio sends a label where the list changed meanwhile."""

    @property
    def chosen(self) -> str:
        return str(self._settings.get(MODEL))

    def found(self) -> list[FoundModel]:
        """Models on this computer that can be the fallback, the best choice first."""
        from zwaif_fallback.models.fit import rank

        with self._lock:
            if self._found is None or self._now() - self._searched > SEARCH_AGAIN:
                usable = [self._portable(one) for one in self._find(self.tree, self._model_dir).usable()]
                self._found = sorted(usable, key=lambda one: rank(one, self._fit_of(one.facts)), reverse=True)
                self._searched = self._now()
            return self._found

    def choices(self) -> list[tuple[str, str]]:
        """Label and setting of each choice: ``auto``, found, offered, and ``Custom``; the chosen one in any case.

        A row stays where it was: Gradio 4.36 remembers which one is picked by its number.
        """
        best = self.best()
        rows = {AUTO: f"{AUTO} (the best that fits{f': {best.model.name}' if best else ''})"}
        rows.update((model.setting, self._found_label(model)) for model in self.found())
        for offer in catalogue.OFFERS:
            rows.setdefault(offer.name, CUSTOM if offer.name == CUSTOM else self._offer_label(offer))
        rows.setdefault(self.chosen, self.shown(self.chosen))
        with self._lock:
            self._order += [setting for setting in rows if setting not in self._order]
            choices = [(rows[setting], setting) for setting in self._order if setting in rows]
            self._labels.update(choices)
        return choices

    def meant(self, text: str) -> str:
        """The setting that a text from the list means: a label, or a name typed by hand."""
        return self._labels.get(text, text)

    def shown(self, setting: str) -> str:
        """A model's name for people, which is never the path of a folder on this machine."""
        model = self.model(setting)
        return (
            model.name
            if model
            else setting.replace("\\", "/").rstrip("/").rpartition("/")[2]
            if _is_path(setting)
            else setting
        )

    def model(self, setting: str) -> FoundModel | None:
        return next((one for one in self.found() if setting in (one.setting, str(one.path))), None)

    def resolve(self, name: str) -> str:
        """What to load for a name from the page.

        Raises:
            ModelNotFound: it may not be named there, or is none.
        """
        return resolve(name, self.found(), self.tree, self._model_dir, self.chosen)

    def best(self) -> Choice | None:
        """What ``auto`` would choose now."""
        from zwaif_fallback.models.fit import choose
        from zwaif_fallback.models.served import served_model

        models = self.found()
        served = served_model(env_values(self.tree), models)
        return choose(models, self.free_memory(), served=served, **self._wishes())

    def fit(self, name: str) -> Fit | None:
        """How a model fits into the memory that is free now; None where nobody knows its size."""
        model, offer = self.model(name), catalogue.find(name)
        if model is not None:
            return self._fit_of(model.facts)
        return self._fit_of_offer(offer) if offer and offer.name != CUSTOM else None

    def free_memory(self) -> Memory:
        if self._now() - self._asked > ASK_AGAIN:
            self._memory, self._asked = self._ask_memory(), self._now()
        return self._memory

    def measurement(self, name: str) -> Measurement | None:
        """What the model has shown on this machine, if it was ever measured."""
        from zwaif_fallback import measured

        known, model = measured.read(), self.model(name)
        names = [name, *((str(model.path), str(model.path.resolve())) if model else ())]
        return next((known[one] for one in names if one in known), None)

    @property
    def _model_dir(self) -> str:
        return str(self._settings.get("FALLBACK_MODEL_DIR"))

    def _portable(self, model: FoundModel) -> FoundModel:
        """A model in a folder of ``FALLBACK_MODEL_DIR`` by its name in there, right wherever Z-Waif is moved to."""
        from zwaif_fallback.models.places import own_folders

        for root in own_folders(self._model_dir, self.tree):
            if root.resolve() in model.path.parents:
                name = model.path.relative_to(root.resolve()).as_posix()
                if model_files.resolve(name, self.tree, self._model_dir) == str(model.path.resolve()):
                    return replace(model, setting=name)
        return model

    def _wishes(self) -> dict[str, Any]:
        """What the settings and the installed libraries have to say about how a model fits."""
        get = self._settings.get
        return {
            "window": int(get("API_FALLBACK_CONTEXT_WINDOW")),
            "device": str(get("API_FALLBACK_DEVICE")),
            "quantization": str(get("API_FALLBACK_QUANTIZATION")),
            "can": self._abilities(),
        }

    def _fit_of(self, facts: ModelFacts) -> Fit:
        from zwaif_fallback.models.fit import fit

        return fit(facts, self.free_memory(), **self._wishes())

    def _fit_of_offer(self, offer: Offer) -> Fit:
        from zwaif_fallback.models.listing import planned_facts

        return self._fit_of(planned_facts(offer))

    def _found_label(self, model: FoundModel) -> str:
        return f"{model.name} ({model.source}, {gigabytes(model.facts.size)}, {self._fit_of(model.facts).text})"

    def _offer_label(self, offer: Offer) -> str:
        return f"{offer.name} (download {offer.download_gb:g} GB, {self._fit_of_offer(offer).text})"


def _find(tree: Path, model_dir: str) -> Findings:
    from zwaif_fallback.models.found import find_models

    return find_models(tree, model_dir)


def _abilities() -> Abilities:
    from zwaif_fallback.models.fit import abilities

    return abilities()


def gigabytes(size: int) -> str:
    """``2.2 GB``; small ones in megabytes."""
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def _is_path(setting: str) -> bool:
    return Path(setting).is_absolute()
