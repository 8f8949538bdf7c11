"""The engine for GGUF models: llama.cpp in the worker, the fastest way on a CPU.

llama.cpp gets a finished prompt as tokens and caches what it has read. It writes a reply in a thread of its own; our
thread takes the pieces, and the thread that asked for the reply reads them from a queue.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.engines.gguf_plan import Card, GgufPlan, make_plan
from zwaif_fallback.engines.gguf_process import LlamaProcess
from zwaif_fallback.engines.gguf_reply import CannotHeal, LlamaReply, PrefixRemover
from zwaif_fallback.engines.gguf_request import advice_in, clean, grammar_for, sampling_of
from zwaif_fallback.engines.gguf_server import READ_AT_ONCE, LlamaEndpoint, LlamaServer, cards, library
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_fallback.engines.token_healing import torn_end
from zwaif_fallback.errors import EngineError, ModelError, ModelTooBig
from zwaif_fallback.hardware import memory_now
from zwaif_fallback.llama_servers import LlamaProgram, find, remember
from zwaif_fallback.models.catalogue import prompt_family
from zwaif_fallback.models.control_tokens import representatives
from zwaif_fallback.models.gguf_header import read_header
from zwaif_fallback.models.gguf_tokens import control_tokens
from zwaif_fallback.models.model_files import gguf_in
from zwaif_hooks.messages import ModelInfo

logger = logging.getLogger(__name__)

_PART = 256
"""Prompt tokens per step when reading ahead."""
_CHECKPOINTS_BEFORE_END = (1024, 256)
"""Distances from a prompt's end at which a model that cannot rewind keeps its state: before the newest turn and the
notes in it, which the next prompt will not contain."""
_COPIES_BEFORE_END = (READ_AT_ONCE, 4)
"""Distances from a prompt's end at which llama.cpp copies the state of such a model."""


def _quiet(line: str) -> None:
    """Ignore progress."""


class GgufEngine:
    """See :class:`zwaif_fallback.engine_types.Engine` for the contract."""

    def __init__(self) -> None:
        self._server: LlamaEndpoint | None = None
        self._info = ModelInfo("")
        self._window = 0
        self._begin_token = ""
        """Text of the token that llama.cpp puts before each prompt; empty if there is none."""
        self._known: list[int] = []
        """Tokens of the last prompt, which llama.cpp need not read again."""
        self._rests = self._forward_only = False
        self._kept: list[int] = []
        """Positions in the last prompt of which llama.cpp has kept a copy of the state."""
        self._cancelled = threading.Event()

    def prepare(self, options: LoadOptions) -> None:
        library()
        memory_now()
        _programs(options, _quiet)

    def load(self, options: LoadOptions, progress: Callable[[str], None] = _quiet) -> LoadedModel:
        started = time.monotonic()
        options = replace(options, model=str(gguf_in(Path(options.model)) or options.model))
        library()
        on_cards, program = _programs(options, progress)
        plan = make_plan(options, on_cards, memory_now().ram_free)
        progress(f"Loading {options.model} ({plan.facts.quantization} {_where(plan)}) …")
        self._server, plan = _start(plan, options, progress, program)
        self._window = plan.window
        self._rests = not plan.gpu_layers
        self._forward_only = plan.facts.shape.forward_only
        self._info = self._describe_model(options, plan)
        return LoadedModel(
            info=self._info,
            engine="gguf",
            device=_device(plan, program),
            quantization=plan.facts.quantization,
            memory_bytes=plan.memory_bytes,
            title=plan.facts.title,
            parameters=plan.facts.parameters,
            advice=advice_in(read_header(plan.path).metadata),
            load_seconds=time.monotonic() - started,
            notes=plan.notes,
        )

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(tokens) for tokens in self._loaded().tokens([clean(text) for text in texts])]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        # A fresh event for each generation, so that a late cancel of the last one does not stop this one.
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
        facts, tokens = plan.facts, representatives(control_tokens(plan.path))
        template = read_header(plan.path).text("tokenizer.chat_template")
        return ModelInfo(
            name=options.model,
            family=prompt_family([options.model, facts.title], tokens, template, facts.architecture),
            context_window=plan.window,
            chat_template=template,
            bos_token=begin,
            eos_token=str(properties.get("eos_token", "")),
            control_tokens=tokens,
            architecture=facts.architecture,
            engine="gguf",
            path=str(plan.path),
        )

    def _loaded(self) -> LlamaEndpoint:
        if self._server is None:
            raise EngineError("No model is loaded.")
        return self._server

    def prompt_tokens(self, prompt: str) -> list[int]:
        """Return the prompt's tokens as llama.cpp's own chat would: with one begin token if the model wants it."""
        text = clean(prompt)
        if self._begin_token:
            text = text.removeprefix(self._begin_token)
        return self._loaded().tokens([text], special=True)[0]

    def _speak(self, generation: Generation, stats: GenerationStats, cancelled: threading.Event) -> Iterator[str]:
        if generation.max_tokens <= 0:
            self._read_ahead(generation, stats, cancelled)
            return
        torn = torn_end(clean(generation.prompt), generation.heal)
        try:
            yield from self._say(generation, torn, stats, cancelled)
        except CannotHeal as error:
            logger.info("The torn word stays as it is: %s", error)
            stats.finish_reason = ""
            yield from self._say(generation, "", stats, cancelled)

    def _say(
        self, generation: Generation, torn: str, stats: GenerationStats, cancelled: threading.Event
    ) -> Iterator[str]:
        """Yield the reply without ``torn``, the end of the prompt that the model regenerates."""
        prompt = clean(generation.prompt)
        tokens = self.prompt_tokens(prompt[: len(prompt) - len(torn)])
        if torn and (not tokens or len(tokens) + len(torn) >= self._window):
            raise CannotHeal("the window is full")
        stats.prompt_tokens = len(tokens)
        stops, again = StopFilter(generation.stop), PrefixRemover(torn)
        reused = self._stop_on_the_way(generation, tokens, stats, cancelled)
        reply = LlamaReply(self._loaded(), self._request(generation, tokens, torn), stats, cancelled)
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
                raise CannotHeal("the model had nothing to say")
            stats.generated_tokens = reply.made - (before if again.done else reply.made)
            if piece := stops.flush():
                yield piece
            _settle(stats, generation, stops)
        except GeneratorExit:
            stats.finish_reason = "cancelled"
            raise
        finally:
            reply.stop()
            stats.reused_tokens = min(stats.reused_tokens, reused)

    def _read_ahead(self, generation: Generation, stats: GenerationStats, cancelled: threading.Event) -> None:
        """Read the prompt and generate nothing.

        llama.cpp computes in threads whose priority cannot be lowered and raised again. So on the CPU it gets the
        prompt in parts, with a pause after each that lasts as long as the part took.
        """
        tokens = self.prompt_tokens(generation.prompt)
        stats.prompt_tokens, reused = len(tokens), 0
        # With a part shorter than the known prefix, llama.cpp would drop the rest of its cache.
        start = _common_prefix(self._known, tokens) if self._rests else len(tokens)
        for end in [*range(start + _PART, len(tokens), _PART), len(tokens)]:
            began = time.monotonic()
            self._read(generation, tokens[:end], stats, cancelled)
            reused = reused or stats.reused_tokens
            if self._rests and end < len(tokens):
                cancelled.wait(time.monotonic() - began)
            if cancelled.is_set():
                break
        stats.reused_tokens = reused
        stats.finish_reason = "cancelled" if cancelled.is_set() else "length"

    def _stop_on_the_way(
        self, generation: Generation, tokens: list[int], stats: GenerationStats, cancelled: threading.Event
    ) -> int:
        """Read most of a long prompt on its own if the model cannot rewind. llama.cpp copies the state wherever a
        prompt ends; without a copy, the next prompt would be read from its first token.

        Returns:
            The number of tokens known before, at most.
        """
        reused = len(tokens)
        if not self._forward_only:
            return reused
        common = _common_prefix(self._known, tokens)
        kept = max((place for place in self._kept if place <= common), default=0)
        for before_end in _CHECKPOINTS_BEFORE_END:
            end = len(tokens) - before_end
            if end > kept + _PART and not cancelled.is_set():
                stats.prompt_tokens = kept = end
                self._read(generation, tokens[:end], stats, cancelled)
                reused = min(reused, stats.reused_tokens)
        stats.prompt_tokens, stats.finish_reason = len(tokens), ""
        return reused

    def _read(
        self, generation: Generation, tokens: list[int], stats: GenerationStats, cancelled: threading.Event
    ) -> None:
        silent = replace(generation, max_tokens=0)
        reply = LlamaReply(self._loaded(), self._request(silent, tokens, ""), stats, cancelled)
        for _ in reply.pieces():
            pass
        reply.stop()

    def _request(self, generation: Generation, tokens: list[int], torn: str) -> dict[str, Any]:
        if not tokens:
            raise EngineError("The prompt is empty: there is nothing to go on from.")
        common = _common_prefix(self._known, tokens)
        self._kept = [place for place in self._kept if place <= common] + [
            len(tokens) - back for back in _COPIES_BEFORE_END
        ]
        self._known = tokens
        room = self._window - len(tokens)
        if room <= 0:
            raise EngineError(
                f"The prompt has {len(tokens)} tokens and the model's window is {self._window}: shorten the prompt."
            )
        request = sampling_of(generation.sampling, self._window)
        # A token has at least one byte, so this many are enough for the regenerated text.
        again = len(torn.encode("utf-8"))
        request |= {"prompt": tokens, "n_predict": min(room, max(1, generation.max_tokens) + again)}
        request |= {"stream": True, "return_progress": True, "timings_per_token": True, "cache_prompt": True}
        if generation.favoured:
            request["logit_bias"] = self._favour(generation.favoured, generation.favour)
        if torn:
            request["grammar"] = grammar_for(torn)
        # Otherwise llama.cpp writes a control token as empty text, where no stop string is found.
        request["preserved_tokens"] = list(generation.stop)
        return request

    def _favour(self, words: Sequence[str], more: float) -> list[list[float]]:
        found = self._loaded().tokens([clean(f" {word}") for word in words])
        return [[token, more] for token in sorted({token for tokens in found for token in tokens})]


def _settle(stats: GenerationStats, generation: Generation, stops: StopFilter) -> None:
    """Set the finish reason if llama.cpp did not end the reply itself."""
    if stops.stopped:
        stats.finish_reason = "stop"
    elif not stats.finish_reason:
        stats.finish_reason = "length" if stats.generated_tokens >= generation.max_tokens else "cancelled"


def _programs(options: LoadOptions, say: Callable[[str], None]) -> tuple[list[Card], LlamaProgram | None]:
    """Return the graphics devices to use, and the program that computes on them; without one, xllamacpp does."""
    if options.device == "cpu":
        return [], None
    if own := cards():
        return own, None
    program = find(options.llama_server, say)
    remember(options.llama_server, program)
    return [Card(one.name, one.free) for one in program.devices] if program else [], program


def _start(
    plan: GgufPlan, options: LoadOptions, progress: Callable[[str], None], program: LlamaProgram | None = None
) -> tuple[LlamaEndpoint, GgufPlan]:
    """Start the server; if it cannot load the model on the card, start xllamacpp on the CPU."""
    if not plan.gpu_layers:
        return LlamaServer(plan, options), plan
    try:
        return (LlamaProcess(program, plan, options) if program else LlamaServer(plan, options)), plan
    except ModelError as error:
        if not (program or isinstance(error, ModelTooBig)):
            raise
        note = f"The graphics card could not load the model ({error}); it runs on the processor."
        progress(note)
        plan = replace(make_plan(options, [], memory_now().ram_free), notes=(*plan.notes, note))
        return LlamaServer(plan, options), plan


def _device(plan: GgufPlan, program: LlamaProgram | None) -> str:
    """Return what computes, for the status: ``gpu (Vulkan, llama-server 6800 from Jan)``."""
    if not plan.gpu_layers:
        return "cpu"
    return f"gpu ({program.devices[0].backend}, {program.title})" if program else "gpu"


def _common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _where(plan: GgufPlan) -> str:
    return "on the graphics card" if plan.gpu_layers else "on cpu"
