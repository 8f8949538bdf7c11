"""The chat format of a plugin, guarded as its hook is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.messages import Message, PluginProblem
from zwaif_hooks.plugins.guarded_hook import GuardedHook, refuse_async

Render = Callable[[Sequence[Message], str], Any]
_BEGUN = "Well,"
_TALK = {
    "the system message": Message("system", "Astronomy"),
    "older messages of the user": Message("user", "Comet"),
    "replies": Message("assistant", "Galaxy"),
    "the newest message": Message("user", "Nebula"),
}
"""A sample conversation. No word is part of another, or of what a format is likely to write."""


class GuardedFormat:
    """Writes one prompt in the format of a plugin, as often as needed, within the time of its hook.

    Args:
        guard: guards the hook that the format comes from.
        render: writes the prompt.
        may_pass: whether ``render`` returns None for a conversation that the plugin does not want.
    """

    def __init__(self, guard: GuardedHook, render: Render, clock: Clock, may_pass: bool = False) -> None:
        self._guard = guard
        self._render = render
        self._clock = clock
        self._may_pass = may_pass
        self._seconds = guard.rule.seconds
        """What is left, for all calls together."""

    def render(self, messages: Sequence[Message], partial: str) -> str:
        """Return the prompt.

        Raises:
            PluginProblem: the plugin wrote none. If it failed, that has been reported.
        """
        began = self._clock.now()
        prompt = self._guard.run(lambda: self._written(messages, partial), self._seconds)
        self._seconds = max(0.0, self._seconds - (self._clock.now() - began))
        if prompt is None:
            raise PluginProblem(f"{self._guard.plugin} wrote no prompt")
        return str(prompt)

    def try_out(self) -> list[str]:
        """Write a sample conversation, with and without the beginning of a reply. Return which messages are missing.

        Raises:
            PluginProblem: the plugin wrote no prompt, or one without the newest message. That has been reported.
        """
        prompts = [self.render(list(_TALK.values()), partial).casefold() for partial in ("", _BEGUN)]
        missing = [
            what
            for what, message in _TALK.items()
            if not all(message.content.casefold() in prompt for prompt in prompts)
        ]
        if missing[-1:] == list(_TALK)[-1:]:
            self._guard.failed(ValueError(f"its prompts do not contain {missing[-1]}"))
            raise PluginProblem(f"{self._guard.plugin} wrote no usable prompt")
        return missing

    def _written(self, messages: Sequence[Message], partial: str) -> str | None:
        prompt = self._render(list(messages), partial)
        if prompt is None and self._may_pass:
            return None
        refuse_async(prompt)
        if not isinstance(prompt, str):
            expected = "text or None" if self._may_pass else "render to return text"
            raise TypeError(f"expected {expected}, got {type(prompt).__name__}")
        if not prompt.endswith(partial):
            raise ValueError("the prompt does not end with partial, the beginning of the reply")
        return prompt
