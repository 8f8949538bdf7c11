"""Loads the local model: for a reply that waits for it, or in the background. One load at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from zwaif_fallback.answering.chain import details
from zwaif_fallback.answering.contracts import LocalModel, Say
from zwaif_fallback.answering.live_settings import LiveSettings
from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.configured_model import ConfiguredModel
from zwaif_fallback.downloads.download import Fetch, fetch_model
from zwaif_fallback.engine_types import LoadedModel, LoadOptions
from zwaif_fallback.errors import FallbackError, LocalModelClosed, ModelNotFound
from zwaif_fallback.prompt import formats

TRY_AGAIN_SECONDS = 60.0
"""How long a model that could not be loaded is not tried again."""


class ModelLoader:
    """Decides what is loaded and loads it. Thread-safe.

    Args:
        settings: what to load, and how.
        local: the local model.
        choice: which model the settings mean.
        say: prints a line for the user.
        closed: set when Z-Waif ends; it ends a download.
        tell: as ``Chain.tell``, for a problem that a reply may have as well.
        fetch: downloads a model.
        now: seconds, from any start.
    """

    def __init__(
        self,
        settings: LiveSettings,
        local: LocalModel,
        choice: ConfiguredModel,
        say: Say,
        closed: threading.Event,
        tell: Callable[[str, str], None],
        fetch: Fetch = fetch_model,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._local, self._choice, self._say = settings, local, choice, say
        self._closed, self._tell, self._fetch, self._now = closed, tell, fetch, now
        self._loading = threading.Lock()
        """Held while a model is being loaded."""
        self._state = threading.Lock()
        self._loaded_from: LoadOptions | None = None
        self._failed: dict[LoadOptions, tuple[FallbackError, float]] = {}
        self._jobs: list[tuple[str | None, bool]] = []
        """The model to load in the background (None: what the settings mean then), and whether it may be downloaded."""
        self._worker: threading.Thread | None = None
        self.changes = 0
        """Grows with each load and each change of a setting: what would be loaded next may be another model."""
        self.progress = ""
        """What the current load is doing; empty without one."""
        self.problem = ""
        """Why the last load or test failed; empty if it did not."""

    # --- state --------------------------------------------------------------------------------------------------------

    def loaded(self) -> LoadedModel | None:
        """Return the loaded model under the name its owner knows it by. From memory, at once."""
        return self._choice.with_title(self._local.loaded)

    @property
    def loaded_from(self) -> LoadOptions | None:
        """The options the loaded model was loaded with; None if none is loaded."""
        return self._loaded_from if self._local.loaded is not None else None

    def is_loading(self) -> bool:
        """Whether a background load is under way or waiting."""
        return self._worker is not None

    def is_busy(self) -> bool:
        """Whether any load is under way or waiting."""
        return self._loading.locked() or self.is_loading()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no background load is under way; False if it took longer than ``timeout`` seconds."""
        worker = self._worker
        if worker is not None:
            worker.join(timeout)
        return not self.is_loading()

    def note_problem(self, line: str) -> None:
        """Show ``line`` in the Settings tab until a load succeeds."""
        self.problem = line

    # --- loading ------------------------------------------------------------------------------------------------------

    def ready(self) -> LoadedModel:
        """Return the model to reply with. Loads it first if necessary, from files on this computer.

        While another model is being loaded, or if it cannot be, the one that is loaded answers.

        Raises:
            FallbackError: there is none; the text says what to do.
        """
        try:
            options = self._options()
        except ModelNotFound:
            if (loaded := self.loaded()) is not None:
                return loaded
            raise
        loaded = self.loaded()
        if loaded is not None and (options == self._loaded_from or self.is_loading() or self._failure_of(options)):
            return loaded
        try:
            return self.load(options)
        except FallbackError as error:
            if (loaded := self.loaded()) is not None:
                return loaded
            if not self._choice.reject(options.model):
                raise
            self._say(f"Trying another model: {error}")
        return self.ready()

    def load_named(self, name: str) -> LoadedModel:
        """Load the model that ``name`` means, as in the setting, and wait for it.

        Raises:
            FallbackError: it cannot be loaded.
        """
        return self.load(self._options_for(self._choice.resolve(name)))

    def loadable(self) -> LoadOptions | None:
        """What the settings mean, if it is on this computer and did not fail a moment ago."""
        options = self.available()
        return None if options is None or self._failure_of(options) else options

    def available(self) -> LoadOptions | None:
        """What the settings mean, if it is on this computer."""
        try:
            options = self._options()
        except ModelNotFound:
            return None
        return options if resolve_name.is_on_this_machine(options.model) else None

    def load(self, options: LoadOptions, place: LoadOptions | None = None) -> LoadedModel:
        """Load a model and wait for it. Return at once if it is loaded already.

        Args:
            place: the options to use this time, if the model is to run somewhere else than the settings say.

        Raises:
            FallbackError: it cannot be loaded, or could not be less than ``TRY_AGAIN_SECONDS`` ago.
        """
        with self._loading:
            if self._closed.is_set():
                raise LocalModelClosed
            loaded = self.loaded()
            if loaded is not None and self._loaded_from == options:
                return loaded
            if (failed := self._failure_of(options)) is not None:
                raise failed
            try:
                if not resolve_name.is_on_this_machine(options.model):
                    raise self._choice.not_here(options.model)
                self._say(f"Loading {self._choice.title(options.model)} …")
                formats.start_renderer()
                loaded = self._local.load(place or options, self._set_progress)
                loaded = self._choice.with_title(loaded) or loaded
            except FallbackError as error:
                with self._state:
                    self._failed[options] = (error, self._now())
                raise
            finally:
                self.progress = ""
            self._loaded_from, self.problem = options, ""
            self.changes += 1
        self._say(f"Fallback ready: {_summary(loaded)}")
        return loaded

    def unload(self) -> None:
        """Free the model's memory, after a reply that is being generated."""
        self._local.unload()
        self._loaded_from = None

    def forget_failures(self) -> None:
        """Try models again that could not be loaded."""
        with self._state:
            self._failed.clear()

    def setting_changed(self) -> None:
        """Load the model that the settings mean now, if one is in use."""
        self.problem = ""
        self.changes += 1
        self._choice.forget()
        self.forget_failures()
        in_use = self._local.loaded is not None or self.is_loading()
        try:
            # If none is in use the name is only checked: to choose among the models here means reading all of them.
            options = self._options_for(self._choice.current() if in_use else self._choice.wanted())
        except ModelNotFound as error:
            return self.note_problem(str(error))
        if in_use and options != self._loaded_from and resolve_name.is_on_this_machine(options.model):
            self.begin(options.model)

    # --- in the background --------------------------------------------------------------------------------------------

    def begin(self, model: str | None, download: bool = False) -> None:
        """Start to load ``model`` in the background (None: what the settings mean); replaces a load that waits."""
        with self._state:
            self._jobs = [(model, download)]
            self.progress = f"Loading {self._choice.title(model)} …" if model else ""
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="zwaif-fallback-load", daemon=True)
                self._worker.start()

    def _work(self) -> None:
        while True:
            with self._state:
                if not self._jobs:
                    self._worker, self.progress = None, ""
                    return
                model, download = self._jobs.pop()
            try:
                self._do(model, download)
            except FallbackError as error:
                loaded = self.loaded()
                kept = f" {loaded.info.name} stays loaded." if loaded else ""
                self.note_problem(f"{error}{kept}")
                line = f"Fallback not loaded: {error}{kept}"
                if model is None:
                    self._tell(str(error), line)
                else:  # asked for by name, so told each time
                    self._say(line)
            except Exception as error:  # no caller would see it
                self.note_problem(f"{model or 'The local model'} could not be loaded.{details(error)}")
                self._say(f"Fallback not loaded: {self.problem}")

    def _do(self, model: str | None, download: bool) -> None:
        if model is None:
            if options := self.loadable():  # if not, the reply that needs it says why
                self.load(options)
            return
        if download and not resolve_name.is_on_this_machine(model):
            self._fetch(
                model, self._say, lambda now: self._set_progress(f"Downloading {model}: {now.line}"), self._closed
            )
            model = self._choice.resolve(model)
        self.load(self._options_for(model))

    def _set_progress(self, line: str) -> None:
        self.progress = line

    def _failure_of(self, options: LoadOptions) -> FallbackError | None:
        """Why these options failed less than ``TRY_AGAIN_SECONDS`` ago. Other threads may forget it at any time."""
        error, when = self._failed.get(options, (None, 0.0))
        return error if self._now() - when < TRY_AGAIN_SECONDS else None

    def _options(self) -> LoadOptions:
        return self._options_for(self._choice.current())

    def _options_for(self, model: str) -> LoadOptions:
        return LoadOptions.from_settings(self._settings.get, model)


def _summary(loaded: LoadedModel) -> str:
    parts: Sequence[str] = [loaded.device, loaded.quantization or loaded.dtype]
    memory = f", {loaded.memory_bytes / 1e9:.1f} GB" if loaded.memory_bytes > 5e7 else ""
    return f"{loaded.info.name} on {', '.join(part for part in parts if part)}{memory}"
