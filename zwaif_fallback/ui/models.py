"""Fallback Model: the list, what is known of each model, Load Model, and the download where one is needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from zwaif_fallback import catalogue, model_files
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.models.auto import AUTO, is_auto
from zwaif_fallback.ui.changes import MODEL, Changes
from zwaif_fallback.ui.components import Components, text_of
from zwaif_fallback.ui.fetching import Fetching
from zwaif_fallback.ui.shelf import Shelf, gigabytes
from zwaif_fallback.ui.status import Service, Status

if TYPE_CHECKING:
    from zwaif_fallback.measured import Measurement
    from zwaif_fallback.models.fit import Fit
    from zwaif_fallback.models.found import FoundModel


class Models:
    """What the model list and its buttons do."""

    def __init__(
        self,
        service: Service,
        shelf: Shelf,
        changes: Changes,
        fetching: Fetching,
        status: Status,
        unchanged: Callable[[], Any],
    ) -> None:
        self._service, self.shelf, self._changes = service, shelf, changes
        self._fetching, self._status, self._unchanged = fetching, status, unchanged

    def load(self, text: object) -> Iterator[tuple[Any, str]]:
        """Make a model the chosen one and load it. One that is not here is downloaded first, and chosen when it is
        whole: until then the old one answers."""
        problem = self._begin(self.shelf.meant(text_of(text)))
        yield self.shelf.chosen if problem else self._unchanged(), self._status.text(problem)
        for status in self._status.watch(problem):
            yield self._unchanged(), status

    def cancel(self) -> str:
        return self._status.text(self._fetching.cancel())

    def info(self, text: object) -> str:
        """What is known of a model, in a few lines."""
        name = self.shelf.meant(text_of(text))
        if not name or name == catalogue.CUSTOM:
            return catalogue.describe(catalogue.CUSTOM)
        if is_auto(name):
            best = self.shelf.best()
            return f"auto: {best.why if best else 'none of the models on this computer fits now'}."
        try:
            resolved = self.shelf.resolve(name)
        except FallbackError as error:
            return str(error)
        model = self.shelf.model(name) or self.shelf.model(resolved)
        about = _found_lines(model) if model else catalogue.describe(name).splitlines()
        measurement = self.shelf.measurement(name)
        lines = [*about, _fit_line(self.shelf.fit(model.setting if model else name), self.shelf.free_memory().ram_free)]
        lines += [_measured_line(measurement)] if measurement else []
        return "\n".join(line for line in [*lines, self._state(name, resolved)] if line)

    def _begin(self, name: str) -> str:
        """Start the load or the download; the problem where there is one."""
        if is_auto(name):
            return self._choose(name)
        try:
            resolved = self.shelf.resolve(name)
            if not model_files.is_on_this_machine(resolved):
                return self._fetching.start(name, self._choose)
        except FallbackError as error:
            return str(error)
        return self._choose(name)

    def _choose(self, name: str) -> str:
        problem = self._changes.set(MODEL, name)
        try:
            self._service.load_model(name, allow_download=False)
        except FallbackError as error:
            return str(error)
        return problem

    def _state(self, name: str, resolved: str) -> str:
        chosen = "Chosen now. " if name == self.shelf.chosen else ""
        if model_files.is_on_this_machine(resolved):
            return f"{chosen}On this computer."
        offer = catalogue.find(name)
        size = f" ({offer.download_gb:g} GB)" if offer and offer.download_gb else ""
        missing = f"Not on this computer yet: Load Model downloads it{size}."
        if chosen and (found := self._service.found_instead()):
            answers = f"Until then {self.shelf.shown(found)} answers, which was found on this computer."
            return f"The default, as none was chosen. {missing} {answers}"
        return f"{chosen}{missing}"


class ModelControls:
    """The row of the list, the buttons under it, the information."""

    def __init__(self, make: Components, models: Models, label: str) -> None:
        self._models = models
        # Empty until the page is loaded: Gradio 4.36 shows labels, and marks the right row, for a value that comes
        # together with its list, and only then.
        self.list = make.gradio.Dropdown(
            choices=[AUTO, *catalogue.choices()], value=None, label=label, allow_custom_value=True, interactive=True
        )
        with make.row():
            self.load = make.button("Load Model")
            self.cancel = make.button("Cancel Download")
        self.info = make.view("Model Information", "", lines=6)

    def wire(self, make: Components, status: Any) -> None:
        models = self._models
        make.on(self.list.change, models.info, self.list, self.info)
        make.on(self.load.click, models.load, self.list, [self.list, status])
        make.on(self.cancel.click, models.cancel, None, status)


def _found_lines(model: FoundModel) -> list[str]:
    facts = model.facts
    size = f"{facts.parameters / 1e9:.2g}B parameters" if facts.parameters else "unknown"
    window = f"{facts.window:,} tokens" if facts.window else "not said"
    template = "" if facts.has_template else " It brings no chat format: one is chosen by its name."
    return [
        f"{facts.title or model.name} (found: {model.source}, {facts.format}, {gigabytes(facts.size)})",
        f"Size: {size}, {facts.quantization or 'as published'}. Context window: {window}.{template}",
    ]


def _fit_line(fit: Fit | None, free: int) -> str:
    if fit is None:
        return ""
    return (
        f"Fit: {fit.text}. It needs about {gigabytes(fit.need.total)} with a window of {fit.window:,} tokens; "
        f"{gigabytes(free)} of memory are free now."
    )


def _measured_line(one: Measurement) -> str:
    when = time.strftime("%Y-%m-%d", time.localtime(one.measured_at))
    speed = f"{one.tokens_per_second:.0f} tokens/s, " if one.tokens_per_second else ""
    return (
        f"Measured here on {when}: loads in {one.load_seconds:.1f} s, first words after {one.first_token_cold:.1f} s "
        f"({one.first_token_warm:.1f} s in a conversation), {speed}{gigabytes(one.peak_memory)} of memory at most."
    )
