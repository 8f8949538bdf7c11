"""The plugin's state: the local model and its loading, the other tiers, and what the Settings tab and CLI ask for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from zwaif_fallback.addresses import is_this_machine, same_server
from zwaif_fallback.answering.chain import Chain, details
from zwaif_fallback.answering.contracts import Say, SecondServer, TextGenerator, Tier
from zwaif_fallback.answering.last_words import LAST_WORDS, LastWords, LastWordsTier
from zwaif_fallback.answering.last_words_filter import LastWordsFilter, said_file
from zwaif_fallback.answering.local_tier import LocalTier
from zwaif_fallback.answering.second_server_tier import SecondServerTier
from zwaif_fallback.answering.startup_report import StartupReport
from zwaif_fallback.choosing import resolve_name
from zwaif_fallback.choosing.configured_model import ConfiguredModel
from zwaif_fallback.downloads.download import Fetch, fetch_model
from zwaif_fallback.engine_types import GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.errors import FallbackError, ModelNotFound
from zwaif_fallback.local import preload_policy
from zwaif_fallback.local.prompt_prefetcher import Describe, PromptPrefetcher
from zwaif_fallback.local.standby_policy import StandbyPolicy
from zwaif_fallback.prompt import formats
from zwaif_fallback.prompt.writer import AskPlugins, PromptWriter, no_plugins
from zwaif_hooks.messages import (
    Answer,
    AnswerRecord,
    ChatRequest,
    FailureKind,
    Message,
    PrimaryFailure,
    Purpose,
    Sampling,
)
from zwaif_hooks.reply.spoken_text import ThinkingHabit

RECONSIDER_SECONDS = (10.0, 30.0, 120.0)
"""After the primary went down, how long ``auto`` waits before it looks whether its memory became free."""
TRY_AGAIN_SECONDS = 60.0
"""After a model could not be loaded, how long replies do without trying it again."""
_LOADS = (
    "API_FALLBACK_MODEL",
    "API_FALLBACK_DEVICE",
    "API_FALLBACK_QUANTIZATION",
    "API_FALLBACK_CONTEXT_WINDOW",
    "API_FALLBACK_THREADS",
    "FALLBACK_MODEL_DIR",
)
"""Settings that change what is loaded."""


class Settings(Protocol):
    """The part of ``SettingsStore`` that is used."""

    def get(self, name: str) -> Any: ...


class LocalModel(TextGenerator, Protocol):
    """The part of ``supervisor.LocalModel`` that is used. A load that fails leaves the old model serving."""

    @property
    def loaded(self) -> LoadedModel | None: ...

    def load(self, options: LoadOptions, progress: Callable[[str], None] = ...) -> LoadedModel: ...

    def read_ahead(self, prompt: str) -> GenerationStats: ...

    def try_again(self) -> None: ...

    @property
    def standing_by(self) -> int | None: ...

    def stand_by(self, options: LoadOptions) -> None: ...

    def dismiss(self) -> None: ...

    def unload(self) -> None: ...

    def close(self) -> None: ...


class Sight(Protocol):
    """The part of ``eyes.Eyes`` that is used."""

    def seen(self, request: ChatRequest, model: str) -> ChatRequest: ...

    def close(self) -> None: ...


class FallbackService:
    """One for each process. Thread-safe; nothing here blocks but ``ready`` and reading an answer.

    Args:
        settings: where values come from, asked each time.
        local: the local model, not loaded yet.
        remote: from address and model name to the server there.
        say: tells the user one line.
        ask_plugins: lets other plugins write a prompt.
        tree: Z-Waif's folder, for relative paths.
        now: seconds, from any start.
        fetch: brings a model to this computer.
        eyes: put pictures into words; None where there are none.
        named: whether the user chose a model; None to look into ``.env`` and the environment.
    """

    def __init__(
        self,
        settings: Settings,
        local: LocalModel,
        remote: Callable[[str, str], SecondServer],
        say: Say,
        ask_plugins: AskPlugins = no_plugins,
        tree: Path | None = None,
        now: Callable[[], float] = time.monotonic,
        fetch: Fetch = fetch_model,
        eyes: Sight | None = None,
        named: Callable[[], bool] | None = None,
    ) -> None:
        self._settings = settings
        self._local = local
        self._remote = remote
        self._say = say
        self._tree = tree
        self._now = now
        self._models = ConfiguredModel(lambda name: self._settings.get(name), lambda: self._tree, named=named, say=say)
        self._fetch = fetch
        self._eyes = eyes
        self._closed = threading.Event()
        self._reconsidering: threading.Thread | None = None
        self._loading = threading.Lock()
        """Held while a model is being loaded; loads queue up, the last one asked for wins."""
        self._state = threading.Lock()
        self._served: LoadOptions | None = None
        self._failed: dict[LoadOptions, tuple[FallbackError, float]] = {}
        self._jobs: list[tuple[str | None, bool]] = []
        """What to load, None for what the settings mean by then; and whether it may be downloaded."""
        self._worker: threading.Thread | None = None
        self._progress = ""
        self._problem = ""
        self._last_words_filter = LastWordsFilter(said_file)
        self._last_words = LastWords(lambda: str(self._settings.get("API_FALLBACK_LAST_WORDS")), say)
        self._last = LastWordsTier(self._last_words)
        self._prompts = PromptWriter(local, ask_plugins, lambda: int(self._settings.get("API_FALLBACK_MAX_TOKENS")))
        self._local_tier = self._tier_with(self.ready)
        self._chain = Chain(self._tiers, say)
        self._ahead = PromptPrefetcher()
        self._beside = False
        """Whether the model was loaded while the primary was well, and must make room when memory gets short."""
        self._why_cold = ""
        self._early = False
        """Whether the model was loaded because the primary was late, and is unloaded when that answers after all."""
        self._habits = defaultdict[tuple[str, str], ThinkingHabit](ThinkingHabit)
        self._stand_by = StandbyPolicy(local, self._to_stand_by_for, self._is_busy, self._closed.wait)
        self._stand_by_for: LoadOptions | None = None
        self._is_looked_up = False
        self._under_way: Collection[object] = ()

    def attach(self, settings: Settings, tree: Path) -> None:
        """Z-Waif is there now: its settings count, and relative paths start in its folder."""
        self._settings, self._tree = settings, tree

    def setting(self, name: str) -> Any:
        """A value that counts now."""
        return self._settings.get(name)

    # --- answering --------------------------------------------------------------------------------------------------

    def answer(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        """A reply by the first tier that can; made while it is read."""
        return self._chain.answer(self._last_words_filter.without(request), failure)

    def answered(self, record: AnswerRecord) -> None:
        """A reply is complete; one that was nothing but last words is to leave no trace in what comes."""
        if record.answered_by == LAST_WORDS and not record.failure.delivered:
            self._last_words_filter.add(record.text)

    def while_waiting(self, request: ChatRequest) -> str | None:
        """A short line for whoever has waited long; nothing for a summary, which nobody listens to."""
        if request.purpose is Purpose.SUMMARY:
            return None
        line = self._last_words.meanwhile()
        self._last_words_filter.add(line)
        return line

    def prepare_next(self, request: ChatRequest, reply: str) -> None:
        """No answer was ready in time: the model is loaded to the end and reads on, for the next message."""
        self._ahead.defer(lambda: self._made_ready(request, reply))

    def _made_ready(self, request: ChatRequest, reply: str) -> None:
        self.ready()
        self._read_ahead(request, reply)

    def turn_over(self, request: ChatRequest, reply: str) -> None:
        """The fallback has answered: what the next prompt begins with is read while the user thinks."""
        self._early = False
        if self._local.loaded is not None:
            self._ahead.defer(lambda: self._read_ahead(request, reply))

    def outage_over(self) -> None:
        """The primary is back."""
        self._chain.outage_over()

    def primary_answered(self, describe: Describe, reply: str) -> None:
        """The primary has given a whole reply. Returns within microseconds; with ``API_FALLBACK_PRELOAD = warm`` the
        local model is then loaded where there is room, and reads what it would have to go on from."""
        self._chain.outage_over()
        if self._settings.get("API_FALLBACK_PRELOAD") == "warm":
            self._ahead.defer(lambda: self._read_ahead(self._kept_warm(describe()), reply))
        elif self._early:
            self._ahead.defer(self._unload_early)

    def primary_late(self, primary: str, describe: Describe, delivered: str) -> None:
        """The primary may fail in a moment. Where that takes nothing from it, the model is loaded and reads the prompt.

        Returns at once."""
        if self._settings.get("API_FALLBACK_PRELOAD") != "never":
            self._ahead.defer(lambda: self._get_ready(describe(), delivered, primary))

    def _get_ready(self, request: ChatRequest, delivered: str, primary: str) -> None:
        here = is_this_machine(primary)
        if self._local.loaded is None:
            self._load_early(primary, here)
        loaded = self._local.loaded
        if loaded is not None and request.picture is None and not (here and not preload_policy.processors_are_idle()):
            request = self._last_words_filter.without(request)
            self._local.read_ahead(self._prompts.write(request, delivered, loaded.info)[1])

    def _load_early(self, primary: str, here: bool) -> None:
        options = self._options()
        if self.is_loading() or self._has_failed(options) or not self._is_here(options.model):
            return
        if preload_policy.placed(options, here)[0] == options:  # loaded elsewhere, it would stay there
            self._say(f"{primary} is slower than usual: the local model is loaded in case it fails")
            self._load(options)
            self._early = True

    def _unload_early(self) -> None:
        self._early = False
        if self._local.loaded is not None:
            self._local.unload()
            self._served = None
            self._say("The server answered after all: the local model is unloaded again")

    def has_read_ahead(self, timeout: float | None = None) -> bool:
        """Until nothing is left to read ahead; False when it took longer than ``timeout`` seconds."""
        return self._ahead.wait(timeout)

    def _kept_warm(self, request: ChatRequest) -> ChatRequest:
        if self._local.loaded is None:
            self._load_beside(request.primary)
        elif self._beside and preload_policy.is_short_of_memory():
            self._beside = False
            self._local.unload()
            self._say("Memory is short: the local model is unloaded and is loaded again when it is needed.")
        return request

    def _load_beside(self, primary: str) -> None:
        options = self._options()
        if self.is_loading() or self._has_failed(options) or not self._is_here(options.model):
            return
        place, why_not = preload_policy.placed(options, is_this_machine(primary))
        if place is None:
            if why_not != self._why_cold:
                self._say(f"The local model is not kept warm: {why_not}.")
            self._why_cold = why_not
            return
        self._load(options, place)
        self._beside, self._why_cold = True, ""

    def _read_ahead(self, request: ChatRequest, reply: str) -> None:
        if (serving := self._local.loaded) is None:
            return
        request = self._last_words_filter.without(request)
        if prompt := self._prompts.next_turn(request, reply, serving.info):
            self._local.read_ahead(prompt)

    def test_reply(self, prompt: str, model: str = "") -> Answer:
        """A real reply to a text box, through the same tiers but the last: a test must not pass on an apology.

        With ``model``, as a setting names it, that one alone is asked; the one before comes back afterwards.
        """
        request = ChatRequest("oobabooga", (Message("user", prompt),), max_tokens=120, sampling=Sampling())
        tried = [self._tier_with(lambda: self._tried(model))] if model else []
        chain = Chain(
            lambda asked: tried or [tier for tier in self._tiers(asked) if tier is not self._last], self._note
        )
        answer = chain.answer(request, PrimaryFailure(FailureKind.UNKNOWN, "a test"))
        answer.pieces = self._or_problem(answer.pieces, self._served if model and self._local.loaded else None)
        return answer

    def _tried(self, model: str) -> LoadedModel:
        return self._load(self._load_options(self._models.resolve(model)))

    def _tier_with(self, ready: Callable[[], LoadedModel]) -> LocalTier:
        return LocalTier(
            self._local,
            ready,
            self._prompts,
            self._say,
            temperature=lambda: float(self._settings.get("API_FALLBACK_TEMPERATURE")),
            caption=self._see,
        )

    def _or_problem(self, pieces: Iterable[str], before: LoadOptions | None) -> Iterable[str]:
        self._problem, said = "", ""
        try:
            for piece in pieces:
                said += piece
                yield piece
        finally:
            if before is not None and before != self._served:
                self._begin(before.model)
        if not said.strip():
            raise FallbackError(self._problem or "Neither the fallback host nor the local model gave a reply.")

    def _tiers(self, request: ChatRequest) -> Iterable[Tier]:
        host = str(self._settings.get("API_FALLBACK_HOST")).strip()
        if host and not same_server(host, request.primary):
            model = str(self._settings.get("API_FALLBACK_HOST_MODEL"))
            yield SecondServerTier(host, lambda: self._remote(host, model), self._see, self._habits[host, model])
        yield self._local_tier
        yield self._last

    def _see(self, request: ChatRequest) -> ChatRequest:
        if self._eyes is None or request.picture is None:
            return request
        model = str(self._settings.get("API_FALLBACK_VISION_MODEL")).strip()
        return self._eyes.seen(request, model) if model else request

    # --- loading ----------------------------------------------------------------------------------------------------

    def ready(self) -> LoadedModel:
        """The model to speak with: the chosen one, loaded now if need be, or the old one while a switch is under way.

        Only files on this machine are loaded here.

        Raises:
            FallbackError: none can be used; the text says what to do.
        """
        try:
            options = self._options()
        except ModelNotFound:
            if (serving := self._serving()) is not None:
                return serving
            raise
        serving = self._serving()
        if serving is not None and (options == self._served or self.is_loading() or self._has_failed(options)):
            return serving
        try:
            return self._load(options)
        except FallbackError as error:
            if (serving := self._serving()) is not None:
                return serving
            if not self._models.reject(options.model):
                raise
            self._say(f"Another model is tried: {error}")
        return self.ready()

    def _serving(self) -> LoadedModel | None:
        return self._models.titled(self._local.loaded)

    def load_model(self, name: str, allow_download: bool) -> None:
        """Begin to load in the background; progress and outcome appear in ``local_news``.

        Raises:
            ModelNotFound: the name means nothing.
        """
        resolved = self._models.resolve(name)
        formats.try_again()
        self._local.try_again()
        with self._state:
            self._failed.clear()
        self._begin(resolved, allow_download)

    def unload(self) -> str:
        """Give the local model's memory back, after a reply that is being made; what came of it, in one line."""
        serving = self._serving()
        if self.is_loading():
            return "A model is being loaded. Unload it when it is there."
        if serving is None:
            return "No local model is loaded."
        self._local.unload()
        self._served = None
        return f"Unloaded: {serving.memory_bytes / 1e9:.1f} GB are free again. It is loaded again when it is needed."

    def _begin(self, model: str | None, download: bool = False) -> None:
        with self._state:
            self._jobs = [(model, download)]
            self._progress = f"Loading {self._models.title(model)} …" if model else ""
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="zwaif-fallback-load", daemon=True)
                self._worker.start()

    def is_loading(self) -> bool:
        """Whether a load is under way or waiting."""
        return self._worker is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Until no load is under way; False when it took longer than ``timeout`` seconds."""
        worker = self._worker
        if worker is not None:
            worker.join(timeout)
        return not self.is_loading()

    def setting_changed(self, name: str, value: object) -> None:
        """Subscriber of the settings: another model or device is loaded at once where one is in use already."""
        if name not in _LOADS:
            return
        self._problem = ""
        self._is_looked_up = False
        self._models.forget()
        with self._state:
            self._failed.clear()
        in_use = self._local.loaded is not None or self.is_loading()
        try:
            # What is not in use is only looked up: choosing among the models here takes a look at all of them.
            options = self._load_options(self._models.current() if in_use else self._models.wanted())
        except ModelNotFound as error:
            return self._note(str(error))
        if in_use and options != self._served and self._is_here(options.model):
            self._begin(options.model)

    def stand_by(self, under_way: Collection[object]) -> None:
        """From a while after Z-Waif's start a process stands by, which makes a load quicker.

        Args:
            under_way: the replies that are being read; it stays the same object.
        """
        self._under_way = under_way
        self._stand_by.begin()

    def _is_busy(self) -> bool:
        return bool(self._under_way) or self._loading.locked() or self.is_loading()

    def _to_stand_by_for(self) -> LoadOptions | None:
        """What would be loaded now, where nothing is; asked every few seconds."""
        on = self._settings.get("API_FALLBACK_ENABLED") and self._settings.get("API_FALLBACK_STANDBY")
        if not on or self._local.loaded is not None:
            return None
        if not self._is_looked_up:  # once, as it takes a look at the disks
            self._is_looked_up, self._stand_by_for = True, None
            with contextlib.suppress(ModelNotFound):
                options = self._options()
                self._stand_by_for = options if self._is_here(options.model) else None
        return self._stand_by_for

    def prepare(self) -> None:
        """At start: say whether the fallback can answer, and load it where the user wants that now."""
        StartupReport(self.setting, self._models, self._tree, self._say, self._begin).tell()

    def preload(self) -> None:
        """An outage began: load now, so that the next reply need not wait."""
        self._early = False
        if self._settings.get("API_FALLBACK_PRELOAD") == "never":
            return
        self._reconsider_soon()
        if self._local.loaded is None and not self.is_loading():
            self._begin(None)

    def close(self) -> None:
        """End the worker processes."""
        self._closed.set()
        self._local.close()
        formats.close()
        if self._eyes is not None:
            self._eyes.close()

    def _reconsider_soon(self) -> None:
        """The primary is down: perhaps its memory is free in a moment, and ``auto`` may take a better model."""
        if self._reconsidering is None and self._models.is_ours_to_choose():
            self._reconsidering = threading.Thread(target=self._reconsider, name="zwaif-fallback-auto", daemon=True)
            self._reconsidering.start()

    def _reconsider(self) -> None:
        try:
            for seconds in RECONSIDER_SECONDS:
                if self._closed.wait(seconds):
                    return
                if why := self._models.choose_again(self._local.loaded):
                    self._say(f"A better local model fits now: {why}")
                    self._begin(self._models.current())
        except Exception as error:  # A disk that fails, say. This thread has no caller who could say it.
            self._say(f"Whether a better local model fits now could not be found out.{details(error)}")
        finally:
            self._reconsidering = None

    def _work(self) -> None:
        while True:
            with self._state:
                if not self._jobs:
                    self._worker, self._progress = None, ""
                    return
                model, download = self._jobs.pop()
            try:
                self._do(model, download)
            except FallbackError as error:
                serving = self._serving()
                kept = f" {serving.info.name} goes on serving." if serving else ""
                self._note(f"{error}{kept}")
                self._say(f"Fallback not loaded: {error}{kept}")
            except Exception as error:  # This thread has no caller who could say it.
                problem = f"{model or 'The local model'} could not be loaded.{details(error)}"
                self._note(problem)
                self._say(f"Fallback not loaded: {problem}")

    def _do(self, model: str | None, download: bool) -> None:
        """One job of :meth:`_work`."""
        if model is None:
            return self._do_what_settings_mean()
        if download and not self._is_here(model):
            model = self._fetched(model)
        self._load(self._load_options(model))

    def _do_what_settings_mean(self) -> None:
        try:
            options = self._options()
        except ModelNotFound:
            return  # The reply that is under way says so.
        if not self._has_failed(options) and self._is_here(options.model):
            self._load(options)

    def _fetched(self, model: str) -> str:
        """Download it; what to load afterwards."""
        self._fetch(model, self._say, lambda now: self._set_progress(f"Downloading {model}: {now.line}"), self._closed)
        return self._models.resolve(model)

    def _load(self, options: LoadOptions, place: LoadOptions | None = None) -> LoadedModel:
        """Load, one at a time; whoever waited for the same model finds it loaded.

        ``place`` is how to load it this time, where that is not as the settings say.
        """
        with self._loading:
            serving = self._serving()
            if serving is not None and self._served == options:
                return serving
            if (failed := self._recent_failure(options)) is not None:
                raise failed
            try:
                if not self._is_here(options.model):
                    raise self._models.not_here(options.model)
                self._say(f"Loading {self._models.title(options.model)} …")
                formats.get_ready()
                loaded = self._local.load(place or options, self._set_progress)
                loaded = self._models.titled(loaded) or loaded
            except FallbackError as error:
                with self._state:
                    self._failed[options] = (error, self._now())
                raise
            finally:
                self._progress = ""
            self._served, self._problem = options, ""
            self._is_looked_up = False
        self._say(f"Fallback ready: {_summary(loaded)}")
        return loaded

    def _has_failed(self, options: LoadOptions) -> bool:
        return self._recent_failure(options) is not None

    def _recent_failure(self, options: LoadOptions) -> FallbackError | None:
        """Why these could not be loaded a moment ago. Another thread may forget it at any time."""
        error, when = self._failed.get(options, (None, 0.0))
        return error if self._now() - when < TRY_AGAIN_SECONDS else None

    def _options(self) -> LoadOptions:
        return self._load_options(self._models.current())

    def _load_options(self, model: str) -> LoadOptions:
        get = self._settings.get
        return LoadOptions(
            model=model,
            device=str(get("API_FALLBACK_DEVICE")),
            quantization=str(get("API_FALLBACK_QUANTIZATION")),
            context_window=int(get("API_FALLBACK_CONTEXT_WINDOW")),
            threads=int(get("API_FALLBACK_THREADS")),
        )

    def _is_here(self, model: str) -> bool:
        return resolve_name.is_on_this_machine(model)

    def _set_progress(self, line: str) -> None:
        self._progress = line

    def _note(self, line: str) -> None:
        self._problem = line

    # --- telling ----------------------------------------------------------------------------------------------------

    def loaded(self) -> LoadedModel | None:
        """The local model that is loaded, under the name that its owner knows it by; from memory, at once."""
        return self._serving()

    def standing_by(self) -> int:
        """Bytes of the process that stands by; 0 where none does."""
        return self._stand_by.bytes if self._local.standing_by is not None else 0

    def is_automatic(self) -> bool:
        """Whether the choice of the model is ours: ``auto``, or nobody chose and the default is not here."""
        return self._models.is_ours_to_choose()

    def taken(self) -> str:
        """The model that was chosen by itself; empty before that was necessary."""
        return self._models.taken

    def local_news(self) -> list[str]:
        """What the user should know of the local model now: progress, what is wrong, steps down that were taken."""
        serving = self._serving()
        lines = [self._progress, self._problem, *(serving.notes if serving else ())]
        return [line for line in lines if line]


def _summary(loaded: LoadedModel) -> str:
    parts: Sequence[str] = [loaded.device, loaded.quantization or loaded.dtype]
    memory = f", {loaded.memory_bytes / 1e9:.1f} GB" if loaded.memory_bytes > 5e7 else ""
    return f"{loaded.info.name} on {', '.join(part for part in parts if part)}{memory}"
