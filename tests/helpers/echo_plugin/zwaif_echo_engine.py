"""The engine: it repeats what the user said, word by word, and knows how to go on if a part was said before."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator

import zwaif_hooks as zw

TEMPLATE = "{% for message in messages %}[{{ message.role }}]{{ message.content }}\n{% endfor %}[assistant]"


class Echo:
    def load(self, options: zw.EngineOptions) -> zw.ModelInfo:
        if options.model == "huge":
            threading.Event().wait()
        return zw.ModelInfo(
            options.model,
            context_window=2048,
            chat_template=TEMPLATE,
            control_tokens=("[system]", "[user]", "[assistant]"),
        )

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def generate(self, prompt: zw.EnginePrompt) -> Iterator[str]:
        before, _, begun = prompt.text.rpartition("[assistant]")
        said = before.rpartition("[user]")[2].strip() or "nothing"
        if said == "for ever":
            while True:
                yield "on and "
        if said == "fail":
            raise OSError("the echo chamber is locked")
        if said == "die":
            os._exit(3)
        if said == "hang":
            threading.Event().wait()
        whole = f"I heard you say this: {said}. Echo number {os.getpid()} says so."
        pieces = re.findall(r"\S+\s*", whole.removeprefix(begun))
        yield from pieces[: prompt.max_tokens]


class Broken(Echo):
    def load(self, options: zw.EngineOptions) -> zw.ModelInfo:
        raise zw.PluginProblem("the echo chamber has no key")
