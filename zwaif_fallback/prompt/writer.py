"""Writes the prompt of a reply: fits the conversation to the model's window and puts it into a chat format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol, TypeVar

from zwaif_fallback.prompt import fit_to_window, formats
from zwaif_fallback.prompt.stable_prefix import PromptPrefixes
from zwaif_hooks import log
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ChatRequest, ModelInfo, PluginProblem, PromptFormat, Purpose

AskPlugins = Callable[[ModelInfo], Iterable[PromptFormat]]
"""Asks other plugins for the format of a model, first choice first. If ``render`` raises PluginProblem, the next one is
used."""
T = TypeVar("T")


class Prompt(NamedTuple):
    """What a model is given for a reply."""

    fitted: fit_to_window.Fitted
    text: str
    """Ends with ``fitted.partial``."""
    stops: tuple[str, ...]
    """Texts that end the reply."""


class TokenCounter(Protocol):
    """The part of the local model that counts tokens."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, without special tokens."""


def no_plugins(model: ModelInfo) -> Iterable[PromptFormat]:
    """For use outside Z-Waif: there are no other plugins."""
    return ()


class PromptWriter:
    """Writes prompts for one local model after another, and keeps their beginnings stable. Thread-safe.

    Args:
        counter: counts tokens; the local model.
        ask_plugins: lets other plugins choose the format.
        longest: the user's limit on the length of a reply, in tokens; 0 for none.
    """

    def __init__(
        self,
        counter: TokenCounter,
        ask_plugins: AskPlugins = no_plugins,
        longest: Callable[[], int] = int,
    ) -> None:
        self._counter = counter
        self._ask_plugins = ask_plugins
        self._longest = longest
        self._prefixes = PromptPrefixes()

    def write(self, request: ChatRequest, begun: str, model: ModelInfo) -> Prompt:
        """Return the fitted conversation and its prompt, which ends with as much of ``begun`` as fits."""
        request = self._with_length(request)

        def written(chat_format: PromptFormat | None) -> Prompt:
            fitted = fit_to_window.fit(
                request, model, self._counter.count_tokens, begun, self._prefixes, chat_format=chat_format
            )
            used = chat_format or formats.own(model)
            prompt = used.render(fitted.messages, fitted.partial)
            if chat_format is not None:
                self._check_length(prompt, fitted.max_tokens, model)
            return Prompt(fitted, prompt, tuple(dict.fromkeys([*used.stops, *formats.stop_strings(model)])))

        return self._in_first_format(model, written)

    def next_turn(self, request: ChatRequest, reply: str, model: ModelInfo) -> str:
        """Return the prompt of the turn after ``reply``, up to the user's next words; empty if no chat follows."""
        if request.purpose is not Purpose.CHAT or not reply.strip():
            return ""
        request = self._with_length(request)

        def begun(chat_format: PromptFormat | None) -> str:
            messages = fit_to_window.fit_next_turn(
                request, reply, model, self._counter.count_tokens, self._prefixes, chat_format
            )
            render = (chat_format or formats.own(model)).render
            return formats.up_to_newest(messages, lambda turns: render(turns, ""))

        return self._in_first_format(model, begun)

    def _in_first_format(self, model: ModelInfo, use: Callable[[PromptFormat | None], T]) -> T:
        """Use the first format of a plugin with which that is possible, else the model's own (None)."""
        for chat_format in self._ask_plugins(model):
            try:
                return use(chat_format)
            except PluginProblem:  # reported by whoever raised it
                continue
        return use(None)

    def _check_length(self, prompt: str, room: int, model: ModelInfo) -> None:
        if self._counter.count_tokens([prompt])[0] + room <= model.context_window:
            return
        line = (
            f"The prompts that a plugin writes do not fit into the window of {model.name}. "
            "The model's own format is used instead"
        )
        log.say_once(f"prompt_format {model.name}", line)
        raise PluginProblem(line)

    def _with_length(self, request: ChatRequest) -> ChatRequest:
        limit = self._longest() or request.max_tokens or DEFAULT_MAX_TOKENS
        return replace(request, max_tokens=min(request.max_tokens or DEFAULT_MAX_TOKENS, limit))
