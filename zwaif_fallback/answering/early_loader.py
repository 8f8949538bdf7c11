"""Loads the local model, and reads prompts into it, before a reply needs them."""

from __future__ import annotations

from collections.abc import Callable

from zwaif_fallback.addresses import is_this_machine
from zwaif_fallback.answering.contracts import LocalModel, Say
from zwaif_fallback.answering.live_settings import LiveSettings
from zwaif_fallback.answering.model_loader import ModelLoader
from zwaif_fallback.engine_types import LoadOptions
from zwaif_fallback.local import preload_policy
from zwaif_fallback.local.prompt_prefetcher import Describe, PromptPrefetcher
from zwaif_fallback.prompt.writer import PromptWriter
from zwaif_hooks.messages import ChatRequest, PrimaryFailure

OthersAnswer = Callable[[ChatRequest | None, PrimaryFailure | None], bool]
"""Whether another plugin is going to answer a request, or any request (None)."""


def nobody_else(request: ChatRequest | None, failure: PrimaryFailure | None) -> bool:
    """Return False: there are no other plugins."""
    return False


class EarlyLoader:
    """Works in a thread of its own; its public methods return within microseconds, but for ``wait``.

    Args:
        clean: removes last words from a request.
        others_answer: whether another plugin is going to answer; then nothing is loaded.
    """

    def __init__(
        self,
        settings: LiveSettings,
        local: LocalModel,
        loader: ModelLoader,
        prompts: PromptWriter,
        clean: Callable[[ChatRequest], ChatRequest],
        say: Say,
        others_answer: OthersAnswer = nobody_else,
    ) -> None:
        self._settings, self._local, self._loader = settings, local, loader
        self._others_answer = others_answer
        self._prompts, self._clean, self._say = prompts, clean, say
        self._jobs = PromptPrefetcher()
        self._is_kept_warm = False
        """The model was loaded while the server was well; it is unloaded when memory gets short."""
        self._why_not_warm = ""
        self._is_in_case = False
        """The model was loaded because the server was late; it is unloaded if the server answers after all."""

    def server_late(self, primary: str, describe: Describe, delivered: str) -> None:
        """The server may be about to fail: load the model and read the prompt, if that takes nothing from the server.

        Args:
            primary: the server's address.
            describe: returns the request.
            delivered: what Z-Waif has of the reply.
        """
        if self._settings.get("API_FALLBACK_PRELOAD") != "never":
            self._jobs.defer(lambda: self._get_ready(primary, describe(), delivered))

    def server_answered(self, describe: Describe, reply: str) -> None:
        """The server gave a whole reply: with ``warm``, keep the model ready to continue from it."""
        if self._settings.get("API_FALLBACK_PRELOAD") == "warm":
            self._jobs.defer(lambda: self._keep_warm(describe(), reply))
        elif self._is_in_case:
            self._jobs.defer(self._unload_unneeded)

    def fallback_answered(self, request: ChatRequest, reply: str) -> None:
        """Read what the next prompt begins with while the user thinks."""
        self.needed()
        if self._local.loaded is not None:
            self._jobs.defer(lambda: self._read_next_turn(request, reply))

    def nothing_was_ready(self, request: ChatRequest, reply: str) -> None:
        """No answer was ready in time: finish loading, and read the next prompt's beginning."""
        self._jobs.defer(lambda: self._load_for_next_turn(request, reply))

    def needed(self) -> None:
        """The model is in use: keep it when the server answers again."""
        self._is_in_case = False

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is left to do; False if it took longer than ``timeout`` seconds."""
        return self._jobs.wait(timeout)

    def _get_ready(self, primary: str, request: ChatRequest, delivered: str) -> None:
        here = is_this_machine(primary)
        if self._others_answer(request, None):
            return
        if self._local.loaded is None:
            self._load_in_case(primary, here)
        loaded = self._local.loaded
        if loaded is not None and request.picture is None and not (here and not preload_policy.processors_are_idle()):
            self._local.read_ahead(self._prompts.write(self._clean(request), delivered, loaded.info).text)

    def _load_in_case(self, primary: str, here: bool) -> None:
        options = self._to_load()
        if options is not None and preload_policy.placed(options, here)[0] == options:  # elsewhere, it would stay there
            self._say(f"{primary} is slower than usual: the local model is loaded in case it fails")
            self._loader.load(options)
            self._is_in_case = True

    def _unload_unneeded(self) -> None:
        self._is_in_case = False
        if self._local.loaded is not None:
            self._loader.unload()
            self._say("The server answered after all: the local model is unloaded again")

    def _keep_warm(self, request: ChatRequest, reply: str) -> None:
        if self._local.loaded is None and not self._others_answer(None, None):
            self._load_beside(request.primary)
        elif self._is_kept_warm and preload_policy.is_short_of_memory():
            self._is_kept_warm = False
            self._loader.unload()
            self._say("Memory is short: the local model is unloaded and is loaded again when it is needed.")
        self._read_next_turn(request, reply)

    def _load_beside(self, primary: str) -> None:
        if (options := self._to_load()) is None:
            return
        place, why_not = preload_policy.placed(options, is_this_machine(primary))
        if place is not None:
            self._loader.load(options, place)
            self._is_kept_warm = True
        elif why_not != self._why_not_warm:
            self._say(f"The local model is not kept warm: {why_not}.")
        self._why_not_warm = why_not if place is None else ""

    def _to_load(self) -> LoadOptions | None:
        return None if self._loader.is_loading() else self._loader.loadable()

    def _load_for_next_turn(self, request: ChatRequest, reply: str) -> None:
        self._loader.ready()
        self._read_next_turn(request, reply)

    def _read_next_turn(self, request: ChatRequest, reply: str) -> None:
        if (loaded := self._local.loaded) is None:
            return
        if prompt := self._prompts.next_turn(self._clean(request), reply, loaded.info):
            self._local.read_ahead(prompt)
