"""The plugin's parts, put together, and what each event of Z-Waif means for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zwaif_fallback.answering.better_model import BetterModel
from zwaif_fallback.answering.chain import Chain
from zwaif_fallback.answering.contracts import Captioner, LocalModel, Say, SecondServer
from zwaif_fallback.answering.early_loader import EarlyLoader, OthersAnswer, nobody_else
from zwaif_fallback.answering.last_words import LAST_WORDS, LastWords
from zwaif_fallback.answering.last_words_filter import LastWordsFilter, said_file
from zwaif_fallback.answering.live_settings import LiveSettings, Settings
from zwaif_fallback.answering.model_controls import LocalModelControls
from zwaif_fallback.answering.model_loader import ModelLoader
from zwaif_fallback.answering.standby import Standby
from zwaif_fallback.answering.startup_report import StartupReport
from zwaif_fallback.answering.tiers import Tiers
from zwaif_fallback.choosing.configured_model import ConfiguredModel
from zwaif_fallback.downloads.download import Fetch, fetch_model
from zwaif_fallback.local.prompt_prefetcher import Describe
from zwaif_fallback.prompt import formats
from zwaif_fallback.prompt.writer import AskPlugins, PromptWriter, no_plugins
from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, PrimaryFailure, Purpose

_LOADS = (
    "API_FALLBACK_MODEL",
    "API_FALLBACK_DEVICE",
    "API_FALLBACK_LLAMA_SERVER",
    "API_FALLBACK_QUANTIZATION",
    "API_FALLBACK_CONTEXT_WINDOW",
    "API_FALLBACK_THREADS",
    "FALLBACK_MODEL_DIR",
)
"""Settings that change what is loaded."""


@dataclass(frozen=True)
class Collaborators:
    """What a service works with; tests replace any of it."""

    settings: Settings
    local: LocalModel
    """Not loaded yet."""
    second_server: Callable[[str, str], SecondServer]
    """Returns the server at an address, with a model's name there."""
    say: Say
    """Prints a line for the user."""
    ask_plugins: AskPlugins = no_plugins
    """Lets other plugins write a prompt."""
    others_answer: OthersAnswer = nobody_else
    """Whether another plugin says that it is going to answer, so that no model need be loaded ahead of time."""
    captioner: Captioner | None = None
    """Describes pictures; None if nothing can."""
    tree: Path | None = None
    """Z-Waif's folder, where relative paths start."""
    was_model_chosen: Callable[[], bool] | None = None
    """Whether the user chose a model; None to look into ``.env`` and the environment."""
    fetch: Fetch = fetch_model
    """Downloads a model."""
    now: Callable[[], float] = time.monotonic
    """Seconds, from any start."""


class FallbackService:
    """One for each process. Thread-safe; only reading an answer takes time."""

    def __init__(self, parts: Collaborators) -> None:
        self._parts, say, local = parts, self._say, parts.local
        self._closed = threading.Event()
        self._settings = settings = LiveSettings(parts.settings, parts.tree)
        self._last_words = LastWords(lambda: str(settings.get("API_FALLBACK_LAST_WORDS")), say)
        self._last_words_filter = LastWordsFilter(said_file)
        named = parts.was_model_chosen
        self._choice = ConfiguredModel(settings.get, lambda: settings.tree, named=named, say=say)
        self.loader = ModelLoader(
            settings,
            local,
            self._choice,
            say,
            self._closed,
            lambda problem, line: self._chain.tell(problem, line),
            parts.fetch,
            parts.now,
        )
        prompts = PromptWriter(local, parts.ask_plugins, lambda: int(settings.get("API_FALLBACK_MAX_TOKENS")))
        tiers = Tiers(
            settings,
            local,
            self.loader.ready,
            prompts,
            parts.second_server,
            self._last_words,
            parts.captioner,
            say,
        )
        self._chain = Chain(tiers.all, say)
        self.early = EarlyLoader(
            settings, local, self.loader, prompts, self._last_words_filter.without, say, parts.others_answer
        )
        self._better_model = BetterModel(self._choice, local, self.loader, say, self._closed)
        self._standby = Standby(settings, local, self.loader, self._closed.wait, parts.others_answer)
        self.controls = LocalModelControls(local, self._choice, self.loader, self._standby, tiers)

    def _say(self, line: str) -> None:
        """Print a line for the user, until Z-Waif ends: what is cut off then is no fault."""
        if not self._closed.is_set():
            self._parts.say(line)

    def setting(self, name: str) -> Any:
        """Return a setting's current value."""
        return self._settings.get(name)

    # --- Z-Waif starts and ends ---------------------------------------------------------------------------------------

    def attach(self, settings: Settings, tree: Path) -> None:
        """Z-Waif has started: use its settings and its folder."""
        self._settings.settings, self._settings.tree = settings, tree

    def prepare(self) -> None:
        """Say whether the fallback can answer, and load the model if the user wants that at the start."""
        StartupReport(self.setting, self._choice, self._settings.tree, self._say, self.loader.begin).tell()

    def stand_by(self, under_way: Collection[object]) -> None:
        """Keep a process ready to load a model; ``under_way`` are the replies that are being read."""
        self._standby.begin(under_way)

    def close(self) -> None:
        """End the worker processes."""
        self._closed.set()
        self._parts.local.close()
        formats.stop_renderer()
        if self._parts.captioner is not None:
            self._parts.captioner.close()

    # --- events -------------------------------------------------------------------------------------------------------

    def setting_changed(self, name: str, value: object) -> None:
        """Subscriber of the settings: a different model or device is loaded at once if one is in use."""
        if name in _LOADS:
            self.loader.setting_changed()

    def primary_late(self, primary: str, describe: Describe, delivered: str) -> None:
        """The server has been silent for long and may be about to fail. Returns at once."""
        self.early.server_late(primary, describe, delivered)

    def primary_answered(self, describe: Describe, reply: str) -> None:
        """The server gave a whole reply. Returns within microseconds."""
        self._chain.outage_over()
        self.early.server_answered(describe, reply)

    def preload(self, failure: PrimaryFailure | None = None) -> None:
        """An outage began: load the model before the next message needs it, unless another plugin answers."""
        if self._parts.others_answer(None, failure):
            return
        self.early.needed()
        if self.setting("API_FALLBACK_PRELOAD") == "never":
            return
        self._better_model.look_soon()
        if self._parts.local.loaded is None and not self.loader.is_loading():
            self.loader.begin(None)

    def outage_over(self) -> None:
        """The server is back."""
        self._chain.outage_over()

    # --- replies ------------------------------------------------------------------------------------------------------

    def answer(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        """Return a reply by the first tier that can, generated while it is read."""
        return self._chain.answer(self._last_words_filter.without(request), failure)

    def while_waiting(self, request: ChatRequest) -> str | None:
        """Return a short line for a user who has waited for long; None for a summary, which is not spoken."""
        if request.purpose is Purpose.SUMMARY:
            return None
        line = self._last_words.meanwhile()
        self._last_words_filter.add(line)
        return line

    def answered(self, record: AnswerRecord) -> None:
        """A reply is complete; if it was nothing but last words, keep it out of later prompts."""
        if record.answered_by == LAST_WORDS and not record.failure.delivered:
            self._last_words_filter.add(record.text)

    def turn_over(self, request: ChatRequest, reply: str) -> None:
        """The fallback has answered: prepare the next prompt while the user thinks."""
        self.early.fallback_answered(request, reply)

    def prepare_next(self, request: ChatRequest, reply: str) -> None:
        """No answer was ready in time: finish loading, for the next message."""
        self.early.nothing_was_ready(request, reply)
