"""The engine for GGUF files: llama.cpp in the worker, the quickest way on a CPU.

llama.cpp gets a finished prompt in tokens and keeps what it has read of the last ones. A reply is written in a thread
of llama.cpp's own; a thread of ours takes its pieces, and the one that asked for the reply reads them from a queue.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zwaif_fallback.catalogue import family_of
from zwaif_fallback.engines.base import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.engines.gguf_plan import GgufPlan, gguf_in, make_plan
from zwaif_fallback.engines.gguf_server import Chunk, LlamaServer, cards, error_text, library
from zwaif_fallback.engines.healing import torn_end
from zwaif_fallback.engines.sampling import decide
from zwaif_fallback.errors import EngineError, ModelTooBig
from zwaif_fallback.hardware import memory_now
from zwaif_fallback.models.gguf_header import read_header
from zwaif_fallback.stops import StopFilter
from zwaif_hooks.messages import ModelInfo, Sampling

logger = logging.getLogger(__name__)

_FAMILY_OF_ARCHITECTURE = {"phi2": "phi"}
_ORDER = ["penalties", "temperature", "top_k", "top_p", "min_p"]
"""As the transformers engine does it, so that both mean the same by the same numbers."""
_RANDOM_SEED = -1
_SEEDS = 2**32 - 1
"""llama.cpp takes the largest 32-bit number for "any"."""


def _quiet(line: str) -> None:
    """Nobody listens to the progress of this load."""


class GgufEngine:
    """See :class:`zwaif_fallback.engines.base.Engine` for the contract."""

    def __init__(self) -> None:
        self._server: LlamaServer | None = None
        self._info = ModelInfo("")
        self._window = 0
        self._begin_token = ""
        """Text of the token that llama.cpp itself puts before each prompt; empty where it puts none."""
        self._cancelled = threading.Event()

    def load(self, options: LoadOptions, progress: Callable[[str], None] = _quiet) -> LoadedModel:
        started = time.monotonic()
        options = replace(options, model=str(gguf_in(Path(options.model)) or options.model))
        library()
        plan = make_plan(options, [] if options.device == "cpu" else cards(), memory_now().ram_free)
        progress(f"Loading {options.model} ({plan.facts.quantization} {_where(plan)}) …")
        self._server, plan = _start(plan, options, progress)
        self._window = plan.window
        self._info = self._describe_model(options, plan)
        return LoadedModel(
            info=self._info,
            engine="gguf",
            device="gpu" if plan.gpu_layers else "cpu",
            quantization=plan.facts.quantization,
            memory_bytes=plan.memory_bytes,
            load_seconds=time.monotonic() - started,
            notes=plan.notes,
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(tokens) for tokens in self._loaded().tokens([_clean(text) for text in texts])]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        # A fresh event per generation: a late cancel of the last one must not touch this one.
        self._cancelled = threading.Event()
        return self._speak(generation, stats or GenerationStats(), self._cancelled)

    def cancel(self) -> None:
        self._cancelled.set()

    def unload(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    def _describe_model(self, options: LoadOptions, plan: GgufPlan) -> ModelInfo:
        server, properties = self._loaded(), self._loaded().properties()
        with_begin, without = (server.tokens(["a"], special=special)[0] for special in (True, False))
        begin = str(properties.get("bos_token", ""))
        self._begin_token = begin if len(with_begin) > len(without) else ""
        facts = plan.facts
        return ModelInfo(
            name=options.model,
            family=family_of(options.model)
            or family_of(facts.title)
            or _FAMILY_OF_ARCHITECTURE.get(facts.architecture, ""),
            context_window=plan.window,
            chat_template=read_header(plan.path).text("tokenizer.chat_template"),
            bos_token=begin,
            eos_token=str(properties.get("eos_token", "")),
        )

    def _loaded(self) -> LlamaServer:
        if self._server is None:
            raise EngineError("No model is loaded.")
        return self._server

    def prompt_tokens(self, prompt: str) -> list[int]:
        """The prompt as llama.cpp's own chat reads it: a begin token where the model wants one, never two."""
        text = _clean(prompt)
        if self._begin_token:
            text = text.removeprefix(self._begin_token)
        return self._loaded().tokens([text], special=True)[0]

    def _speak(self, generation: Generation, stats: GenerationStats, cancelled: threading.Event) -> Iterator[str]:
        torn = torn_end(_clean(generation.prompt), generation.heal)
        try:
            yield from self._say(generation, torn, stats, cancelled)
        except _CannotHeal as error:
            logger.info("The torn word stays as it is: %s", error)
            stats.finish_reason = ""
            yield from self._say(generation, "", stats, cancelled)

    def _say(
        self, generation: Generation, torn: str, stats: GenerationStats, cancelled: threading.Event
    ) -> Iterator[str]:
        """The reply, without ``torn``, the end of the prompt that the model writes once more."""
        prompt = _clean(generation.prompt)
        tokens = self.prompt_tokens(prompt[: len(prompt) - len(torn)])
        if torn and (not tokens or len(tokens) + len(torn) >= self._window):
            raise _CannotHeal("the window is full")
        stats.prompt_tokens = len(tokens)
        stops, again = StopFilter(generation.stop), _Again(torn)
        reply = _Reply(self._loaded(), self._request(generation, tokens, torn), stats, cancelled)
        before = 0
        try:
            for text in reply.pieces():
                before = before if again.done else reply.made
                piece = stops.feed(again.feed(text))
                stats.generated_tokens = reply.made - before
                if piece:
                    yield piece
                if stops.stopped or stats.generated_tokens >= generation.max_tokens:
                    break
            if not (again.done or torn.isspace() or cancelled.is_set()):
                raise _CannotHeal("the model had nothing to say")
            stats.generated_tokens = reply.made - (before if again.done else reply.made)
            if piece := stops.flush():
                yield piece
            _settle(stats, generation, stops)
        except GeneratorExit:
            stats.finish_reason = "cancelled"
            raise
        finally:
            reply.stop()

    def _request(self, generation: Generation, tokens: list[int], torn: str) -> dict[str, Any]:
        if not tokens:
            raise EngineError("The prompt is empty: there is nothing to go on from.")
        room = self._window - len(tokens)
        if room <= 0:
            raise EngineError(
                f"The prompt has {len(tokens)} tokens and the model's window is {self._window}: shorten the prompt."
            )
        request = sampling_of(generation.sampling, self._window)
        # A token is at least one byte, so so many are enough for what is written again.
        again = len(torn.encode("utf-8"))
        request |= {"prompt": tokens, "n_predict": min(room, generation.max_tokens + again)}
        request |= {"stream": True, "return_progress": True, "timings_per_token": True, "cache_prompt": True}
        if torn:
            request["grammar"] = grammar_for(torn)
        return request


class _CannotHeal(Exception):
    """The torn word cannot be written again by this model."""


class _Again:
    """Takes what the model wrote again off the beginning of its text."""

    def __init__(self, torn: str) -> None:
        self._left = torn

    @property
    def done(self) -> bool:
        return not self._left

    def feed(self, text: str) -> str:
        known = len(self._left)
        if known and not text.startswith(self._left[: len(text)]):
            raise _CannotHeal(f"it became {text[:known]!r}")
        self._left = self._left[len(text) :]
        return text[known:]


class _Reply:
    """One reply of llama.cpp's, from the thread that takes its chunks to the one that reads."""

    def __init__(
        self, server: LlamaServer, request: dict[str, Any], stats: GenerationStats, cancelled: threading.Event
    ) -> None:
        self._stats = stats
        self._cancelled = cancelled
        self._unwanted = threading.Event()
        self._chunks: queue.SimpleQueue[Chunk | BaseException | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._take_all, args=(server, request), name="zwaif-llama", daemon=True)
        self._heals = "grammar" in request
        self.made = 0
        """Tokens so far, those of a torn word included."""
        self._thread.start()

    def pieces(self) -> Iterator[str]:
        """Text as it comes; sets the statistics. May be empty."""
        while (chunk := self._chunks.get()) is not None:
            if isinstance(chunk, BaseException):
                raise EngineError(f"The local model failed while it wrote ({chunk}).") from chunk
            if "error" in chunk:
                raise self._error(chunk)
            self._note(chunk)
            if text := chunk["choices"][0]["text"]:
                yield text

    def stop(self) -> None:
        """End it, wherever it is, and wait until llama.cpp has: at most until the part of a prompt that it reads."""
        self._unwanted.set()
        self._thread.join()

    def _take_all(self, server: LlamaServer, request: dict[str, Any]) -> None:
        try:
            if not self._is_over():
                server.complete(request, self._take)
        except Exception as error:  # it belongs to whoever reads, in the other thread
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
            return _CannotHeal(text)
        return EngineError(f"The local model failed while it wrote ({text}).")


def _settle(stats: GenerationStats, generation: Generation, stops: StopFilter) -> None:
    """Why it ended, where llama.cpp was not the one to end it."""
    if stops.stopped:
        stats.finish_reason = "stop"
    elif not stats.finish_reason:
        stats.finish_reason = "length" if stats.generated_tokens >= generation.max_tokens else "cancelled"


def sampling_of(sampling: Sampling, window: int) -> dict[str, Any]:
    """Our sampling in llama.cpp's words.

    Two things differ from the transformers engine: one range serves all penalties, and the frequency and presence
    penalties count the prompt's words too.
    """
    choice = decide(sampling)
    return {
        "samplers": _ORDER,
        "temperature": max(0.0, choice.temperature),
        "top_k": max(0, choice.top_k),
        "top_p": choice.top_p if 0.0 < choice.top_p < 1.0 else 1.0,
        "min_p": choice.min_p if 0.0 < choice.min_p <= 1.0 else 0.0,
        "repeat_penalty": choice.repetition_penalty or 1.0,
        "repeat_last_n": choice.repetition_range if choice.repetition_range > 0 else window,
        "frequency_penalty": choice.frequency_penalty,
        "presence_penalty": choice.presence_penalty,
        "seed": _RANDOM_SEED if choice.seed is None else choice.seed % _SEEDS,
    }


def grammar_for(torn: str) -> str:
    """A grammar of texts that begin with ``torn``; behind a whole sentence and its space, the end fits too."""
    spelt = "".join(rf"\U{ord(letter):08X}" for letter in torn)
    begin = f'"{spelt}" .*'
    return f"root ::= ({begin})?" if torn.isspace() else f"root ::= {begin}"


def _start(plan: GgufPlan, options: LoadOptions, progress: Callable[[str], None]) -> tuple[LlamaServer, GgufPlan]:
    """Where the card has less room than it said, the CPU does it."""
    try:
        return LlamaServer(plan, options), plan
    except ModelTooBig as error:
        if not plan.gpu_layers:
            raise
        note = f"The graphics card did not take the model ({error}); it runs on the processor."
        progress(note)
        plan = replace(make_plan(options, [], memory_now().ram_free), notes=(*plan.notes, note))
        return LlamaServer(plan, options), plan


def _where(plan: GgufPlan) -> str:
    return "on the graphics card" if plan.gpu_layers else "on cpu"


def _clean(text: str) -> str:
    """A lone surrogate (half of an emoji, cut by some program) cannot be encoded; the rest of the text can."""
    return text.encode("utf-8", "replace").decode("utf-8")
