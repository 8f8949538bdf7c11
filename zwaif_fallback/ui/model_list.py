"""The list of models: those on this computer, the recommended one, and others to download.

Modules that look for models are imported on first use: Z-Waif waits at its start until the page is built.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import AUTO, Constraints, is_auto
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory, memory_now
from zwaif_fallback.models import catalogue
from zwaif_fallback.models.catalogue import CUSTOM, Offer
from zwaif_fallback.ui.model_permissions import resolve
from zwaif_fallback.ui.service_protocol import Service
from zwaif_fallback.ui.setting_edits import MODEL
from zwaif_hooks.host.settings_store import SettingsStore

if TYPE_CHECKING:
    from zwaif_fallback.choosing.memory_fit import Abilities, Fit
    from zwaif_fallback.choosing.ranking import Choice
    from zwaif_fallback.models.facts import ModelFacts
    from zwaif_fallback.models.measurements import Measurement
    from zwaif_fallback.models.search import Findings, FoundModel

SEARCH_AGAIN = 20.0
"""Seconds until the disks are searched again."""
ASK_AGAIN = 3.0
"""Seconds until the free memory is measured again."""
HERE, RECOMMENDED, OTHER = "On this computer", "Recommended", "Other"
"""Groups of the list. Gradio 4.36 has no groups, so each row begins with the name of its group."""


class ModelList:
    """The rows of the list, and what is known about their models. Thread-safe; a search may take a second."""

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
        self._found: list[FoundModel] = []
        self._known: dict[str, FoundModel] = {}
        """Models by every name that the settings or the worker may use."""
        self._here: dict[str, bool] = {}
        self._names: dict[str, str] = {}
        """Names for people, by setting."""
        self._searched = self._asked = float("-inf")
        self._memory = Memory(0, 0)
        self._labels: dict[str, str] = {}
        """The value of each label ever shown: Gradio sends the label if the list has changed in the meantime."""

    @property
    def chosen(self) -> str:
        return str(self._settings.get(MODEL))

    def found(self) -> list[FoundModel]:
        """Return the usable models on this computer, best first."""
        from zwaif_fallback.choosing.ranking import rank

        with self._lock:
            if self._now() - self._searched > SEARCH_AGAIN:
                usable = [self._portable(one) for one in self._find(self.tree, self._model_dir).usable()]
                self._found = sorted(usable, key=lambda one: rank(one, self._fit_of(one.facts)), reverse=True)
                self._here.clear()
                self._known = {name: one for one in reversed(self._found) for name in _called(one)}
                self._names = _names(self._found)
                self._searched = self._now()
            return self._found

    def rescan(self) -> None:
        """Search the disks at the next opportunity: a model was added or removed."""
        with self._lock:
            self._searched = float("-inf")

    def answering_model(self, service: Service) -> str:
        """Return the model that answers in an outage: the loaded one, or the one to be loaded; empty if none."""
        loaded = service.loaded()
        if loaded is not None:
            return loaded.info.name
        if service.is_automatic():
            best = None if service.taken() else self.auto_choice()
            return best.model.setting if best else service.taken()
        return self.chosen if self._is_here(self.chosen) else ""

    def selected(self, service: Service) -> tuple[str, str]:
        """Return label and value of the row to select: the model that answers."""
        if service.is_automatic():
            return (self.automatic_label(service),) * 2
        value = self._value(self.chosen)
        return self.display_name(value), value

    def choices(self, service: Service) -> list[tuple[str, str]]:
        """Return label and value of each row. The model in the settings is always one of them.

        The first row's value is its label: Gradio 4.36 shows a new label only together with a new value.
        """
        automatic = self.automatic_label(service)
        rows = {automatic: automatic}
        best = self.recommended()
        for name in self._listed()[1:]:
            model, offer = self.model(name), catalogue.find(name)
            if model is not None:
                rows[name] = self._found_label(model)
            elif offer is not None:
                rows[name] = self._offer_label(offer, RECOMMENDED if offer == best else OTHER)
            else:
                rows.setdefault(name, self.display_name(name))
        choices = _told_apart(rows)
        with self._lock:
            self._labels.update(choices[1:])
        return choices

    def digest(self, service: Service) -> str:
        """Return a short text that changes with the rows of the list."""
        return hashlib.sha256(json.dumps(self.choices(service)).encode()).hexdigest()[:16]

    def automatic_label(self, service: Service) -> str:
        """Return the label of the row for an automatic choice, with the model it stands for now."""
        best = self.auto_choice()
        name = self.answering_model(service) if service.is_automatic() else best.model.setting if best else ""
        label = f"Automatic: {self.name_and_source(name) if name else 'no model on this computer yet'}"
        with self._lock:
            self._labels[label] = AUTO
        return label

    def setting_for(self, text: str) -> str:
        """Return the setting for a text from the list: a row's label, or any name of a model."""
        from zwaif_fallback.models.short_names import find_called

        if text in self._labels:
            return self._labels[text]
        named = next((one.setting for one in self.found() if text == self._names[one.setting]), "")
        with suppress(ModelNotFound):  # an ambiguous name means none of them
            named = named or getattr(find_called(text, self.found()), "setting", "")
        offer = catalogue.find(text)
        return named or (offer.name if offer and offer.name != CUSTOM else AUTO if is_auto(text) else text)

    def display_name(self, name: str) -> str:
        """Return a model's name for people, never a path on this computer."""
        from zwaif_fallback.models.display_names import readable

        model = self.model(name)
        return self._names[model.setting] if model else readable(name)

    def name_and_source(self, name: str) -> str:
        """Return the name for people with the program that the model belongs to."""
        model = self.model(name)
        return f"{self.display_name(name)} ({model.source})" if model else self.display_name(name)

    def model(self, name: str) -> FoundModel | None:
        self.found()
        return self._known.get(name)

    def resolve(self, name: str) -> str:
        """Return what to load for a name from the page.

        Raises:
            ModelNotFound: There is no such model, or the page may not name it.
        """
        return resolve(name, self._listed(), self.found(), self.tree, self._model_dir)

    def auto_choice(self) -> Choice | None:
        """Return what ``auto`` would choose now."""
        from zwaif_fallback.choosing.auto import pick

        return pick(self.found(), self._wishes(), self.free_memory(), self._abilities())

    def recommended(self) -> Offer | None:
        """Return the best model to download for this computer."""
        from zwaif_fallback.choosing.suggestions import recommended

        best = recommended(self._wishes(), self.free_memory(), self._abilities())
        return best.offer if best else None

    def better_with_engine(self) -> str:
        """Say which model would be better with one more package installed; empty if none would."""
        from zwaif_fallback.choosing.memory_fit import NO_ENGINE
        from zwaif_fallback.choosing.suggestions import with_engine

        offer = with_engine(self._wishes(), self.free_memory(), self._abilities())
        return f"The best for this computer, {offer.title}, {NO_ENGINE}." if offer else ""

    def fit(self, name: str) -> Fit | None:
        """Return how a model fits into the free memory; None if its size is unknown."""
        model, offer = self.model(name), catalogue.find(name)
        if model is not None:
            return self._fit_of(model.facts)
        return self._fit_of_offer(offer) if offer and offer.name != CUSTOM else None

    def free_memory(self) -> Memory:
        if self._now() - self._asked > ASK_AGAIN:
            self._memory, self._asked = self._ask_memory(), self._now()
        return self._memory

    def measurement(self, name: str) -> Measurement | None:
        """Return the measurement of a model on this computer, if there is one."""
        from zwaif_fallback.models import measurements

        known, model = measurements.read(), self.model(name)
        names = [name, *(_called(model) if model else ())]
        return next((known[one] for one in names if one in known), None)

    @property
    def _model_dir(self) -> str:
        return str(self._settings.get("FALLBACK_MODEL_DIR"))

    def _listed(self) -> list[str]:
        """Return the values of the list in order. Besides these, the page may name only models on Hugging Face."""
        from zwaif_fallback.choosing.memory_fit import is_in_time
        from zwaif_fallback.choosing.suggestions import preference

        best = self.recommended()
        offers = [offer for offer in catalogue.OFFERS if offer.name != CUSTOM]
        offers.sort(key=preference, reverse=True)
        offers.sort(key=lambda one: (one != best, not is_in_time(self._fit_of_offer(one))))
        missing = [offer.name for offer in offers if self.model(offer.name) is None]
        found = [model.setting for model in self.found()]
        return list(dict.fromkeys([AUTO, *found, *missing, self._value(self.chosen)]))

    def _value(self, name: str) -> str:
        """Return the row's value for a model in the settings, where it may be written in several ways."""
        model, offer = self.model(name), catalogue.find(name)
        return AUTO if is_auto(name) else model.setting if model else offer.name if offer else name

    def _is_here(self, name: str) -> bool:
        """Whether a model is on this computer. The disk is asked once per search."""
        if name not in self._here:
            try:
                resolved = self.resolve(name)
            except ModelNotFound:
                resolved = ""
            self._here[name] = bool(resolved) and resolve_name.is_on_this_machine(resolved)
        return self._here[name]

    def _portable(self, model: FoundModel) -> FoundModel:
        """Name a model in ``FALLBACK_MODEL_DIR`` relative to it, so the setting survives moving Z-Waif."""
        from zwaif_fallback.models.program_folders import own_folders

        for root in own_folders(self._model_dir, self.tree):
            if root.resolve() in model.path.parents:
                name = model.path.relative_to(root.resolve()).as_posix()
                if resolve_name.resolve(name, self.tree, self._model_dir) == str(model.path.resolve()):
                    return replace(model, setting=name)
        return model

    def _wishes(self) -> Constraints:
        return Constraints.of(self._settings.get, self.tree)

    def _fit_of(self, facts: ModelFacts) -> Fit:
        from zwaif_fallback.choosing.memory_fit import fit

        constraints = self._wishes()
        return fit(
            facts,
            self.free_memory(),
            **constraints.load_settings,
            can=self._abilities(),
        )

    def _fit_of_offer(self, offer: Offer) -> Fit:
        from zwaif_fallback.models.memory import planned_facts

        return self._fit_of(planned_facts(offer))

    def _found_label(self, model: FoundModel) -> str:
        from zwaif_fallback.choosing.memory_fit import pace
        from zwaif_fallback.models.display_names import quality

        facts = model.facts
        about = (quality(facts.parameters), pace(self._fit_of(facts), self.measurement(model.setting)))
        return f"{HERE}: {', '.join([self.name_and_source(model.setting), *filter(None, about)])}"

    def _offer_label(self, offer: Offer, group: str) -> str:
        from zwaif_fallback.choosing.memory_fit import pace

        speed = pace(self._fit_of_offer(offer), self.measurement(offer.name))
        return f"{group}: {offer.title}, {offer.quality}, {speed}, {offer.download_gb:.1f} GB to download"


def _called(model: FoundModel) -> tuple[str, ...]:
    return model.setting, model.name, str(model.path), str(model.path.resolve())


def _names(models: list[FoundModel]) -> dict[str, str]:
    """Return names for people by setting, with the quantization if several would be equal."""
    from zwaif_fallback.models.display_names import readable
    from zwaif_fallback.models.program_folders import OLLAMA

    names = {one.setting: readable(f"ollama:{one.name}" if one.source == OLLAMA else one.name) for one in models}
    how_often, forms = Counter(names.values()), {one.setting: one.facts.quantization for one in models}
    return {one: f"{name} {forms[one]}".strip() if how_often[name] > 1 else name for one, name in names.items()}


def _told_apart(rows: dict[str, str]) -> list[tuple[str, str]]:
    """Return label and value of each row. Repeated labels get a number."""
    seen: Counter[str] = Counter()
    choices = []
    for value, label in rows.items():
        seen[label] += 1
        choices.append((f"{label} ({seen[label]})" if seen[label] > 1 else label, value))
    return choices


def _find(tree: Path, model_dir: str) -> Findings:
    from zwaif_fallback.models.search import find_models

    return find_models(tree, model_dir)


def _abilities() -> Abilities:
    from zwaif_fallback.choosing.memory_fit import abilities

    return abilities()
