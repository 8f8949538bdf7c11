"""One reply of llama.cpp, passed from the thread that takes its chunks to the thread that reads it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Any

from zwaif_fallback.engine_types import GenerationStats
from zwaif_fallback.engines.gguf_server import Chunk, LlamaEndpoint, error_text
from zwaif_fallback.errors import EngineError


class CannotHeal(Exception):
    """The model cannot regenerate the cut word."""


class PrefixRemover:
    """Remove the regenerated word from the start of the model's text."""

    def __init__(self, torn: str) -> None:
        self._left = torn

    @property
    def done(self) -> bool:
        return not self._left

    def feed(self, text: str) -> str:
        known = len(self._left)
        if known and not text.startswith(self._left[: len(text)]):
            raise CannotHeal(f"it became {text[:known]!r}")
        self._left = self._left[len(text) :]
        return text[known:]


class LlamaReply:
    """One reply of llama.cpp, passed from the thread that takes its chunks to the thread that reads it."""

    def __init__(
        self, server: LlamaEndpoint, request: dict[str, Any], stats: GenerationStats, cancelled: threading.Event
    ) -> None:
        self._stats = stats
        self._cancelled = cancelled
        self._unwanted = threading.Event()
        self._chunks: queue.SimpleQueue[Chunk | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._take_all, args=(server, request), name="zwaif-llama", daemon=True)
        self._heals = "grammar" in request
        self.made = 0
        """Tokens generated so far, including those of a regenerated word."""
        self._thread.start()

    def pieces(self) -> Iterator[str]:
        """Yield text as it arrives and update the statistics. May yield nothing."""
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise EngineError(f"The local model failed while writing ({chunk}).") from chunk
            if "error" in chunk:
                raise self._error(chunk)
            self._note(chunk)
            if text := chunk["choices"][0]["text"]:
                yield text

    def stop(self) -> None:
        """End the reply and wait until llama.cpp has stopped, at the latest after the current part of a prompt."""
        self._unwanted.set()
        self._thread.join()

    def _take_all(self, server: LlamaEndpoint, request: dict[str, Any]) -> None:
        try:
            if not self._is_over():
                server.complete(request, self._take)
        except Exception as error:  # raised again in the thread that reads
            self._chunks.put(error)
        finally:
            self._chunks.put(None)

    def _take(self, chunk: Chunk) -> bool:
        if self._is_over():
            return True
        self._chunks.put(chunk)
        return False

    def _is_over(self) -> bool:
        return self._unwanted.is_set() or self._cancelled.is_set()

    def _note(self, chunk: Chunk) -> None:
        stats = self._stats
        if progress := chunk.get("prompt_progress"):
            stats.reused_tokens = progress["cache"]
            stats.prefilled_tokens = min(progress["processed"], stats.prompt_tokens)
        if (timings := chunk.get("timings")) and timings["predicted_n"]:
            stats.prefilled_tokens = stats.prompt_tokens
            self.made = timings["predicted_n"]
        if reason := chunk["choices"][0].get("finish_reason"):
            stats.finish_reason = str(reason)

    def _error(self, chunk: Chunk) -> Exception:
        text = error_text(chunk)
        if self._heals and not self.made:
            return CannotHeal(text)
        return EngineError(f"The local model failed while writing ({text}).")
