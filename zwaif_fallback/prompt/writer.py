"""Writes the prompt of a reply: fits the conversation to the model's window and puts it into a chat format."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

from zwaif_fallback.prompt import fit_to_window, formats
from zwaif_fallback.prompt.stable_prefix import PromptPrefixes
from zwaif_hooks import log
from zwaif_hooks.messages import DEFAULT_MAX_TOKENS, ChatRequest, Message, ModelInfo, Purpose

AskPlugins = Callable[[Sequence[Message], ModelInfo, str], "str | None"]
"""Asks other plugins to write a prompt (hook ``format_prompt``); None where none does."""
MOST_FITS = 3
"""How often a conversation is shortened to make room for a plugin's longer format."""


class TokenCounter(Protocol):
    """The part of the local model that counts tokens."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the tokens of each text, without special tokens."""


def no_plugins(messages: Sequence[Message], model: ModelInfo, partial: str) -> None:
    """For use outside Z-Waif: there are no other plugins."""


class PromptWriter:
    """Writes prompts for one local model after another, and keeps their beginnings stable. Thread-safe.

    Args:
        counter: counts tokens; the local model.
        ask_plugins: lets other plugins write the prompt.
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

    def write(self, request: ChatRequest, begun: str, model: ModelInfo) -> tuple[fit_to_window.Fitted, str]:
        """Return the fitted conversation and its prompt, which ends with as much of ``begun`` as fits.

        The conversation is fitted using the model's own format; where a plugin's format is longer, the conversation is
        shortened by the difference.
        """
        request, more = self._with_length(request), 0
        for _ in range(MOST_FITS):
            fitted = fit_to_window.fit(request, model, self._counter.count_tokens, begun, self._prefixes, more)
            prompt = self._format(fitted.messages, model, fitted.partial)
            length = self._counter.count_tokens([prompt])[0]
            if length + fitted.max_tokens <= model.context_window:
                return fitted, prompt
            own = formats.write(fitted.messages, model, fitted.partial)
            if own == prompt:
                return fitted, prompt
            more = length - self._counter.count_tokens([own])[0]
        log.say_once(
            f"format_prompt {model.name}",
            f"The prompts that a plugin writes (format_prompt) do not fit into the window of {model.name}. "
            "The model's own format is used instead",
        )
        fitted = fit_to_window.fit(request, model, self._counter.count_tokens, begun, self._prefixes)
        return fitted, formats.write(fitted.messages, model, fitted.partial)

    def next_turn(self, request: ChatRequest, reply: str, model: ModelInfo) -> str:
        """Return the prompt of the turn after ``reply``, up to the user's next words; empty if no chat follows."""
        if request.purpose is not Purpose.CHAT or not reply.strip():
            return ""
        request = self._with_length(request)
        messages = fit_to_window.fit_next_turn(request, reply, model, self._counter.count_tokens, self._prefixes)
        return formats.up_to_newest(messages, lambda turns: self._format(turns, model, ""))

    def _with_length(self, request: ChatRequest) -> ChatRequest:
        limit = self._longest() or request.max_tokens or DEFAULT_MAX_TOKENS
        return replace(request, max_tokens=min(request.max_tokens or DEFAULT_MAX_TOKENS, limit))

    def _format(self, messages: Sequence[Message], model: ModelInfo, partial: str) -> str:
        written = self._ask_plugins(messages, model, partial)
        return written if written is not None else formats.write(messages, model, partial)
