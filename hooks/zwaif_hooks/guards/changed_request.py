"""Sends a request as the plugins want it (hook ``before_request``): only what they changed is changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from zwaif_hooks.guards.request import PICTURE
from zwaif_hooks.host.sampling import changed_fields
from zwaif_hooks.messages import Backend, ChatRequest, Message
from zwaif_hooks.runtime import Runtime

HOOK = "before_request"
_LIMIT: dict[Backend, str] = {"oobabooga": "max_tokens", "ollama": "num_predict", "lmstudio": "maxTokens"}
_STOP: dict[Backend, str] = {"oobabooga": "stop", "ollama": "stop", "lmstudio": "stopStrings"}


class Change(NamedTuple):
    """A request as Z-Waif made it, and as the plugins want it."""

    before: ChatRequest
    after: ChatRequest

    def messages(self, raw: Sequence[Any]) -> list[Any]:
        """Return the client library's messages: its own where a message is unchanged.

        ``raw`` are those of the request before. A picture stays with the last message.
        """
        unused = list(zip(self.before.messages, raw, strict=True))
        made = []
        for message in self.after.messages:
            index = next((i for i, (known, _) in enumerate(unused) if known == message), None)
            made.append(
                unused.pop(index)[1] if index is not None else {"role": message.role, "content": message.content}
            )
        last = self.after.messages[-1]
        if self.before.has_image and last != self.before.messages[-1]:
            made[-1] = _with_text(raw[-1], last)
        return made

    def options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of the request that are not its messages: a body, Ollama's options, or a config."""
        before, after = self.before, self.after
        changed = changed_fields(before.backend, before.sampling, after.sampling)
        if after.max_tokens != before.max_tokens:
            changed[_LIMIT[before.backend]] = after.max_tokens
        if after.stop != before.stop:
            changed[_STOP[before.backend]] = list(after.stop)
        return {
            name: value for name, value in {**options, **changed}.items() if name not in changed or value is not None
        }


def change_by_plugins(runtime: Runtime, describe: Callable[[], ChatRequest]) -> Change | None:
    """Ask the plugins. None if they change nothing, and if nobody implements the hook."""
    if not runtime.plugins.wants(HOOK):
        return None
    before = describe()
    after = runtime.plugins.changed(before)
    return None if after is before or after == before else Change(before, after)


def _with_text(raw: Any, message: Message) -> Any:
    """Return the client library's message with another text and the same pictures."""
    if not isinstance(raw, Mapping):
        return raw
    content = raw.get("content")
    if isinstance(content, list):
        others = [part for part in content if not (isinstance(part, Mapping) and part.get("type") == "text")]
        return {**raw, "content": [{"type": "text", "text": message.content}, *others]}
    pictures = PICTURE.findall(content) if isinstance(content, str) else []
    return {**raw, "content": "\n".join([message.content, *pictures])}
