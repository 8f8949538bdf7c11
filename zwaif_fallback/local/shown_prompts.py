"""A local model whose prompts are shown, for ``chat --show-prompt``."""

from __future__ import annotations

from collections.abc import Callable

from zwaif_fallback.engine_types import Generation, GenerationStats
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.reply_stream import ReplyStream


class ShownPrompts(LocalModel):
    """The local model. Each prompt, and what ends its reply, is passed to ``show`` before the reply."""

    def __init__(self, show: Callable[[str], None], *, hang_timeout: float, say: Callable[[str], None]) -> None:
        super().__init__(hang_timeout=hang_timeout, say=say)
        self._show = show

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> ReplyStream:
        stops = ", ".join(map(repr, generation.stop)) or "nothing but the model"
        self._show(f"[The prompt:]\n{generation.prompt}\n[What ends the reply: {stops}]")
        return super().generate(generation, stats)
