"""Fallback Model: the list, the information below it, and Load Model, Unload Model and Cancel Download."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.auto import AUTO, is_auto
from zwaif_fallback.downloads.transfer import byte_size
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.models import catalogue
from zwaif_fallback.ui import timeline
from zwaif_fallback.ui.components import Components, paragraph, problem, text_of
from zwaif_fallback.ui.model_download import ModelDownload
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.model_permissions import REFUSED, Refused
from zwaif_fallback.ui.service_protocol import Service
from zwaif_fallback.ui.setting_edits import LONGEST_INPUT, MODEL, SettingEdits

if TYPE_CHECKING:
    from zwaif_fallback.choosing.memory_fit import Fit
    from zwaif_fallback.models.measurements import Measurement
    from zwaif_fallback.models.search import FoundModel

NOTHING_HERE = (
    "There is no model on this computer yet, and none in the list fits. Free some memory, or type a model's name."
)
_INFO = "Pick one, or type a name from huggingface.co (owner/name), then press Load Model."


class ModelActions:
    """What happens when a model is picked or a button below the list is pressed."""

    def __init__(
        self,
        service: Service,
        model_list: ModelList,
        edits: SettingEdits,
        download: ModelDownload,
        unchanged: Callable[[], Any],
    ) -> None:
        self._service, self.model_list, self._edits = service, model_list, edits
        self._download, self._unchanged = download, unchanged

    def load(self, text: object) -> tuple[Any, str, str]:
        """Choose a model and load it. Return the list's value, the outcome, and the state.

        A model that is not here is downloaded first and chosen when it is complete. Until then the old one answers.
        """
        wrong = self._begin(self.model_list.setting_for(text_of(text)))
        value = self.model_list.selected(self._service)[1] if wrong else self._unchanged()
        return value, problem(wrong), self.state()

    def unload(self) -> tuple[str, str]:
        return paragraph(self._service.unload()), self.state()

    def cancel(self) -> tuple[str, str]:
        return paragraph(self._download.cancel()), self.state()

    def state(self) -> str:
        """Return the state of downloads and loads, and which model is loaded. Called once a second."""
        loaded = self._service.loaded()
        ended = problem if self._download.failed else paragraph
        parts = [_bar(self._download) if self._download.active else ended(self._download.line)]
        parts += [problem(line) for line in self._service.local_news() if not self._service.is_loading()]
        if self._service.is_loading():
            parts += [paragraph(line) for line in self._service.local_news()[:1]]
        elif loaded is not None:
            memory = f", {byte_size(loaded.memory_bytes)}" if loaded.memory_bytes else ""
            where = "the processor" if loaded.device == "cpu" else loaded.device
            parts.append(
                paragraph(f"Loaded now: {self.model_list.display_name(loaded.info.name)}, on {where}{memory}.")
            )
        else:
            parts.append(paragraph("No model is loaded. One will be loaded when it is needed."))
        return "".join(parts)

    def info(self, text: object) -> str:
        """Return what is known about a model, as HTML."""
        name = self.model_list.setting_for(text_of(text))
        try:
            return "".join(paragraph(line) for line in self._facts(name) if line)
        except FallbackError as error:
            return problem(str(error))

    def model_to_test(self, text: object) -> str:
        """Return the model to test for the selected row; empty to test whatever would answer.

        Raises:
            FallbackError: It is not on this computer, or the page may not name it.
        """
        name = self.model_list.setting_for(text_of(text))
        if not name or is_auto(name) or name == self.model_list.selected(self._service)[1]:
            return ""
        if not resolve_name.is_on_this_machine(self._resolved(name)):
            raise Refused(f"{self.model_list.display_name(name)} is not on this computer. Press Load Model first.")
        return name

    def _begin(self, name: str) -> str:
        """Start the load or the download. Return the problem, if any."""
        try:
            if is_auto(name):
                return self._automatic()
            if not resolve_name.is_on_this_machine(self._resolved(name)):
                return self._download.start(
                    name, lambda here: self._choose(here, here), self.model_list.display_name(name)
                )
        except FallbackError as error:
            return str(error)
        return self._choose(name, name)

    def _automatic(self) -> str:
        """Choose ``auto``; if no model is here, download the one that suits this computer best."""
        if self.model_list.auto_choice() is not None:
            return self._choose(AUTO, AUTO)
        offer = self.model_list.recommended()
        if offer is None:
            return self.model_list.better_with_engine() or NOTHING_HERE
        return self._download.start(offer.name, lambda here: self._choose(AUTO, here), offer.title)

    def _choose(self, setting: str, model: str) -> str:
        self.model_list.rescan()
        wrong = self._edits.set(MODEL, setting)
        try:
            self._service.load_model(model, allow_download=False)
        except FallbackError as error:
            return str(error)
        return wrong

    def _resolved(self, name: str) -> str:
        if not name or len(name) > LONGEST_INPUT or not name.isprintable():
            raise Refused(REFUSED)
        return self.model_list.resolve(name)

    def _facts(self, name: str) -> list[str]:
        if is_auto(name):
            return self._automatic_facts()
        resolved = self._resolved(name)
        model = self.model_list.model(name) or self.model_list.model(resolved)
        if model is not None:
            return [*_found_lines(model), *self._how(model.setting), "It is on this computer."]
        offer = catalogue.find(name)
        if resolve_name.is_on_this_machine(resolved):
            return [self.model_list.display_name(name), *self._how(name), "It is on this computer."]
        size = f" ({offer.download_gb:.1f} GB)" if offer else ""
        about = catalogue.describe(offer.name).splitlines() if offer else [name]
        return [*about, *self._how(name), f"It is not on this computer yet. Load Model downloads it{size}."]

    def _automatic_facts(self) -> list[str]:
        name = self.model_list.answering_model(self._service) if self._service.is_automatic() else ""
        best = self.model_list.auto_choice()
        model = self.model_list.model(name) or (best.model if best else None)
        if model is not None:
            taken = f"Automatic uses the best model on this computer: {self.model_list.name_and_source(model.setting)}."
            return [taken, *_found_lines(model)[1:], *self._how(model.setting)]
        offer, better = self.model_list.recommended(), self.model_list.better_with_engine()
        if offer is None:
            return [better or NOTHING_HERE]
        size = f"{offer.download_gb:.1f} GB"
        suits = "one that runs without it" if better else "the one that suits it best"
        said = f"There is no model on this computer yet. Load Model downloads {suits} ({size}):"
        return [better, said, *catalogue.describe(offer.name).splitlines(), *self._how(offer.name)]

    def _how(self, name: str) -> list[str]:
        how, measurement = self.model_list.fit(name), self.model_list.measurement(name)
        told = [_fit_line(how, self.model_list.free_memory().ram_free)] if how and how.need.total else []
        return [*told, _measured_line(measurement)] if measurement else told


class ModelControls:
    """The list, the buttons below it, their outcome, and the information on the selected model."""

    def __init__(self, make: Components, models: ModelActions, label: str) -> None:
        self._models = models
        # Empty until the page is loaded: Gradio 4.36 shows labels and selects the right row only if value and choices
        # arrive together.
        self.list = make.gradio.Dropdown(
            choices=[AUTO], value=None, label=label, info=_INFO, allow_custom_value=True, interactive=True
        )
        with make.row():
            self.load = make.button("Load Model")
            self.unload = make.button("Unload Model")
            self.cancel = make.button("Cancel Download")
        self.said, self.state = make.words(), make.words()
        self.info = make.words()

    def wire(self, make: Components) -> None:
        models, outcome = self._models, [self.said, self.state]
        make.on(self.list.change, models.info, self.list, self.info)
        make.on(self.list.input, str, None, self.said)  # an old outcome is about another model
        make.on(self.load.click, models.load, self.list, [self.list, *outcome])
        make.on(self.unload.click, models.unload, None, outcome)
        make.on(self.cancel.click, models.cancel, None, outcome)


def _bar(download: ModelDownload) -> str:
    share = download.progress.share * 100 if download.progress else 0.0
    return (
        f'{paragraph(download.line)}<div style="background:{timeline.GREY}55;height:6px">'
        f'<div style="background:{timeline.GREEN};height:6px;width:{share:.1f}%"></div></div>'
    )


def _found_lines(model: FoundModel) -> list[str]:
    from zwaif_fallback.models.display_names import quality
    from zwaif_fallback.models.facts import PLUGIN

    facts = model.facts
    if facts.format == PLUGIN:
        return [f"{model.name} ({model.source})"]
    size = f"{facts.parameters / 1e9:.2g}B parameters" if facts.parameters else "unknown"
    window = f"{facts.window:,} tokens" if facts.window else "unknown"
    template = "" if facts.has_template else " It has no chat format of its own; one is chosen by its name."
    good = f"Quality: {quality(facts.parameters)}, by its size. " if facts.parameters else ""
    return [
        f"{facts.title or model.name} (from {model.source}, {facts.format}, {byte_size(facts.size)})",
        f"{good}Size: {size}, {facts.quantization or 'as published'}. Context window: {window}.{template}",
    ]


def _fit_line(fit: Fit, free: int) -> str:
    return (
        f"Fit: {fit.text}. It needs about {byte_size(fit.need.total)} with a window of {fit.window:,} tokens; "
        f"{byte_size(free)} of memory are free."
    )


def _measured_line(one: Measurement) -> str:
    when = time.strftime("%Y-%m-%d", time.localtime(one.measured_at))
    speed = f"{one.tokens_per_second:.0f} tokens/s, " if one.tokens_per_second else ""
    return (
        f"Measured here on {when}: loads in {one.load_seconds:.1f} s, first words after {one.first_token_cold:.1f} s "
        f"({one.first_token_warm:.1f} s in a conversation), {speed}{byte_size(one.peak_memory)} of memory at most."
    )
