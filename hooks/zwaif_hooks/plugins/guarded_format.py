"""The chat format of a plugin, guarded as its hook is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.messages import Message, PluginProblem, PromptFormat
from zwaif_hooks.plugins.guarded_hook import GuardedHook, refuse_async

Render = Callable[[Sequence[Message], str], Any]


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

    @classmethod
    def of(cls, guard: GuardedHook, theirs: PromptFormat, clock: Clock) -> PromptFormat:
        """Return a plugin's format with a guarded ``render``."""
        return PromptFormat(cls(guard, theirs.render, clock).render, tuple(theirs.stops))

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
