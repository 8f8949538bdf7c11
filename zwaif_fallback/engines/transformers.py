"""The engine on Hugging Face transformers, for models with safetensors weights and a causal language model class.

It has its own token loop instead of ``model.generate``: that can be cancelled within one token, keeps the key-value
cache between replies, and reads a long prompt in parts, so that progress is visible from outside.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.engines.decoding_graphs import DecodingGraphs, Recorder, disable_cudnn_attention, recorder_for
from zwaif_fallback.engines.detokenizer import Detokenizer
from zwaif_fallback.engines.error_messages import explain, first_line, is_out_of_memory
from zwaif_fallback.engines.file_cache import read_beside
from zwaif_fallback.engines.file_repairs import readable
from zwaif_fallback.engines.hostile_files import check_files
from zwaif_fallback.engines.kv_caches import KvCache, KvCaches, growing_cache, slot_cache
from zwaif_fallback.engines.load_timer import LoadTimer
from zwaif_fallback.engines.own_caches import OwnCache, takes_common_cache, widen_windows
from zwaif_fallback.engines.sampling import Sampler, advice_of, decide
from zwaif_fallback.engines.stop_filter import StopFilter
from zwaif_fallback.engines.token_healing import Vocabulary, only, torn_end, vocabulary_of
from zwaif_fallback.engines.transformers_import import classes_for, import_torch, import_transformers
from zwaif_fallback.engines.transformers_loading import Loaded, free_memory, get_ready_to_load, load_weights
from zwaif_fallback.errors import EngineError
from zwaif_fallback.models.catalogue import prompt_family
from zwaif_fallback.models.control_tokens import BREAK, representatives
from zwaif_fallback.models.model_files import find_model
from zwaif_hooks.messages import ModelInfo, Sampling
from zwaif_hooks.storage import bounded

logger = logging.getLogger(__name__)

_NO_LIMIT = 1_000_000
"""Tokenizers without a limit state 10**30; anything this large means "no limit given"."""
_SPOKEN = re.compile(r"[.!?…。！？\n]|.{200}", re.DOTALL)
"""A reply that is being spoken: its first sentence is out, or a lot of text."""
_SIGN = re.compile(r"[^\w\s]")
_TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>")
"""Tokens that end a chat turn but are missing from the end tokens of some published models."""


def _quiet(line: str) -> None:
    """Ignore progress."""


@dataclass
class _StartedReply:
    """A prompt in tokens, and the part of the reply that came out while its last word was regenerated."""

    tokens: list[int]
    text: Detokenizer
    said: str = ""
    ended: bool = False
    """Whether the model had nothing to add."""


class TransformersEngine:
    """See :class:`zwaif_fallback.engine_types.Engine` for the contract."""

    def __init__(self, recorder: Recorder | None = None, now: Callable[[], float] = time.monotonic) -> None:
        """``recorder`` captures decoding steps; without one, that is decided by where the model is loaded. ``now``
        returns monotonic seconds."""
        self._recorder = recorder
        self._now = now
        self._reader: _CachedModel | None = None
        self._model: Any = None
        self._tokenizer: Any = None
        self._tokenizer_lock = threading.Lock()
        self._end_tokens: frozenset[int] = frozenset()
        self._added: dict[str, int] = {}
        """Special tokens and others that were added to the vocabulary."""
        self._vocabulary = Vocabulary(())
        self._window = 0
        self._drops_breaks = False
        """Whether the tokenizer drops the character that keeps words from being control tokens."""
        self._cancelled = threading.Event()

    def prepare(self, options: LoadOptions) -> None:
        folder = find_model(options.model, options.cache_dir)
        import_transformers()
        check_files(folder)
        get_ready_to_load(options, classes_for(folder))

    def load(self, options: LoadOptions, progress: Callable[[str], None] = _quiet) -> LoadedModel:
        timer = LoadTimer(self._now)
        folder = find_model(options.model, options.cache_dir)
        read_beside(folder)
        timer.done("files")
        try:
            import_torch()
            timer.done("import torch")
            import_transformers()
            timer.done("import transformers")
            check_files(folder)
            tokenizer, config = _open(folder, options)
            timer.done("tokenizer")
        except Exception as error:  # anything wrong with the files is explained to the user
            raise explain(error, options) from error
        loaded = load_weights(folder, config, options, progress, timer)
        self._take(loaded.model, tokenizer)
        info = model_info(options, config, tokenizer, folder)
        self._window = info.context_window
        timer.done("vocabulary")
        return _describe(loaded, info, timer.seconds)

    def _take(self, model: Any, tokenizer: Any) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._drops_breaks = self._encode(f"a{BREAK}b") == self._encode("ab")
        if model.device.type == "cuda":
            disable_cudnn_attention()
        self._reader = _CachedModel(model, self._recorder or recorder_for(model))
        self._end_tokens = end_tokens(model, tokenizer)
        self._added = tokenizer.get_added_vocab()
        self._vocabulary = vocabulary_of(tokenizer, self._decode_many)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(self._encode(text)) for text in texts]

    def generate(self, generation: Generation, stats: GenerationStats | None = None) -> Iterator[str]:
        # A fresh event for each generation, so that a late cancel of the last one does not stop this one.
        self._cancelled = threading.Event()
        return self._speak(generation, stats or GenerationStats(), self._cancelled)

    def cancel(self) -> None:
        self._cancelled.set()

    def unload(self) -> None:
        self._model = self._tokenizer = self._reader = None
        free_memory()

    def _speak(self, generation: Generation, stats: GenerationStats, cancelled: threading.Event) -> Iterator[str]:
        self._loaded_reader().spoken = False
        begun = self._begin(generation, stats, cancelled)
        stops = StopFilter(generation.stop)
        if piece := stops.feed(begun.said):
            yield piece
        if not (begun.ended or stops.stopped):
            yield from self._go_on(begun, generation, stops, stats, cancelled)
        if begun.ended or stops.stopped:
            stats.finish_reason = "stop"

    def _go_on(
        self,
        begun: _StartedReply,
        generation: Generation,
        stops: StopFilter,
        stats: GenerationStats,
        cancelled: threading.Event,
    ) -> Iterator[str]:
        taken = ""
        for token in self._tokens(begun.tokens, generation, stats, cancelled):
            if piece := stops.feed(begun.text.push(token)):
                yield piece
                taken += piece
                self._loaded_reader().spoken = _SPOKEN.search(taken) is not None
            if stops.stopped:
                return
        if piece := stops.feed(begun.text.flush()) + stops.flush():
            yield piece

    def _begin(self, generation: Generation, stats: GenerationStats, cancelled: threading.Event) -> _StartedReply:
        if torn := torn_end(generation.prompt, generation.heal):
            with _explained(self._loaded_reader()):
                healed = self._healed(generation, torn, stats, cancelled)
            if healed is not None:
                return healed
        tokens = self._encode(generation.prompt)
        stats.prompt_tokens = len(tokens)
        return _StartedReply(tokens, Detokenizer(self._decode, tokens))

    def _healed(
        self, generation: Generation, torn: str, stats: GenerationStats, cancelled: threading.Event
    ) -> _StartedReply | None:
        """Regenerate the prompt's end ``torn``; None if no token fits."""
        tokens = self._encode(generation.prompt[: -len(torn)])
        if not tokens or len(tokens) + len(torn) >= self._window:
            return None
        stats.prompt_tokens = len(tokens)
        begun = _StartedReply(tokens, Detokenizer(self._decode, tokens))
        sampler = self._sampler(generation)
        while not begun.said.startswith(torn):
            # After a whole sentence and its space, the reply may also end here.
            ends = list(self._end_tokens) if torn.isspace() else []
            fitting = self._vocabulary.fitting(torn[len(begun.said) :])
            goes_on = fitting and not cancelled.is_set()
            scores = self._loaded_reader().read(begun.tokens, stats, cancelled) if goes_on else None
            if scores is None:
                return None
            token = sampler.pick(only(scores, fitting + ends), begun.tokens, [])
            if token in self._end_tokens:
                begun.ended, begun.said = True, torn
                break
            new = begun.text.push(token)
            begun.tokens.append(token)
            begun.said += new
            if not new or not (begun.said.startswith(torn) or torn.startswith(begun.said)):
                return None
        stats.prompt_tokens = len(begun.tokens)
        begun.said = begun.said[len(torn) :]
        return begun

    def _sampler(self, generation: Generation) -> Sampler:
        spaced = (self._encode(f" {word}") for word in generation.favoured)
        favoured = [token for tokens in spaced for token in tokens if self._decode([token]).strip()]
        choice = decide(generation.sampling, self._model.generation_config)
        return Sampler(choice, self._model.device, favoured, generation.favour)

    def _tokens(
        self, prompt: list[int], generation: Generation, stats: GenerationStats, cancelled: threading.Event
    ) -> Iterator[int]:
        """Yield token ids as they are picked; sets ``stats.finish_reason``."""
        reader = self._loaded_reader()
        room = self._room(prompt, generation)
        sampler = self._sampler(generation)
        # Decoded text lacks special tokens, so a stop string that is one ends the reply here.
        ends = self._end_tokens | {self._added[stop] for stop in generation.stop if stop in self._added}
        made: list[int] = []
        with _explained(reader), _noting_the_reader_left(stats):
            if generation.max_tokens == 0:
                reader.read(prompt, stats, cancelled)
            while not cancelled.is_set() and len(made) < room:
                scores = reader.read(prompt + made, stats, cancelled)
                if scores is None:
                    break
                token = sampler.pick(scores, prompt + made, made)
                if token in ends:
                    stats.finish_reason = "stop"
                    return
                made.append(token)
                stats.generated_tokens = len(made)
                yield token
            stats.finish_reason = "cancelled" if cancelled.is_set() else "length"

    def _loaded_reader(self) -> _CachedModel:
        if self._reader is None:
            raise EngineError("No model is loaded.")
        return self._reader

    def _room(self, prompt: list[int], generation: Generation) -> int:
        """Return how many tokens may be generated."""
        if not prompt:
            raise EngineError("The prompt is empty: there is nothing to go on from.")
        room = self._window - len(prompt)
        if room <= 0:
            raise EngineError(
                f"The prompt has {len(prompt)} tokens and the model's window is {self._window}: shorten the prompt."
            )
        return min(room, generation.max_tokens)

    def _encode(self, text: str) -> list[int]:
        if self._tokenizer is None:
            raise EngineError("No model is loaded.")
        # A lone surrogate (half an emoji, cut by some program) cannot be encoded; the rest of the text can.
        clean = text.encode("utf-8", "replace").decode("utf-8")
        if self._drops_breaks:
            clean = clean.replace(BREAK, " ")
        with self._tokenizer_lock:
            return list(self._tokenizer(clean, add_special_tokens=False, verbose=False).input_ids)

    def _decode(self, tokens: list[int]) -> str:
        with self._tokenizer_lock:
            text = self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return str(text)

    def _decode_many(self, lists: list[list[int]]) -> list[str]:
        """Decode the whole vocabulary; a fast tokenizer's own method takes a twentieth of the time."""
        fast = getattr(self._tokenizer, "backend_tokenizer", None)
        if fast is not None:
            return list(fast.decode_batch(lists, skip_special_tokens=True))
        return [self._decode(tokens) for tokens in lists]


class _CachedModel:
    """Feed tokens to the model and keep the key-value caches of what it has read."""

    def __init__(self, model: Any, recorder: Recorder | None = None) -> None:
        self._model = model
        self.spoken = False
        """Whether the reply is being spoken, so that nobody notices a pause."""
        accepted = inspect.signature(model.forward).parameters
        self._last_only = {name: 1 for name in ("logits_to_keep", "num_logits_to_keep") if name in accepted}
        self._common = takes_common_cache(model)
        self._long_mask = self._common and widen_windows(model)
        self._part = 128 if model.device.type == "cpu" else 1024
        self._graphs = DecodingGraphs(model, recorder, self._last_only) if recorder and self._common else None
        self._kept = KvCaches(model.device, slot_cache if self._graphs else growing_cache)
        self._own = OwnCache(model, self._last_only)

    def forget(self) -> None:
        """Drop the caches and release their memory."""
        self._kept.forget()
        self._own.forget()
        free_memory()

    def read(self, tokens: list[int], stats: GenerationStats, cancelled: threading.Event) -> Any:
        """Return the scores for the next token, float32, shape (1, vocabulary); None if cancelled while reading.

        If memory runs out, what is kept of this and other conversations is released, and ``tokens`` are read again."""
        try:
            return self._read(tokens, stats, cancelled)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or not self._kept.tokens():
                raise
            logger.info(
                "Memory ran out (%s); reading the conversation again with nothing else kept.", first_line(error)
            )
        self.forget()
        self._graphs = None
        self._kept = KvCaches(self._model.device)
        return self._read(tokens, stats, cancelled)

    def _read(self, tokens: list[int], stats: GenerationStats, cancelled: threading.Event) -> Any:
        if not self._common:
            scores = self._own.read(tokens)
            stats.prefilled_tokens = min(len(tokens), stats.prompt_tokens)
            return scores
        kept = self._kept.best_for(tokens)
        start = len(kept.tokens)
        if not (stats.generated_tokens or stats.prefilled_tokens):
            stats.reused_tokens = start
        if self._graphs and start == len(tokens) - 1:
            stats.prefilled_tokens = min(len(tokens), stats.prompt_tokens)
            return self._decode_one(kept, tokens[-1], self._graphs)
        if self._graphs:
            kept.cache.reserve(len(tokens))
        while True:
            end = min(start + self._part, len(tokens))
            scores = self._forward(tokens[start:end], kept)
            kept.tokens += tokens[start:end]
            stats.prefilled_tokens = min(end, stats.prompt_tokens)
            if end == len(tokens):
                return scores
            if cancelled.is_set():
                return None
            start = end

    def _decode_one(self, kept: KvCache, token: int, graphs: DecodingGraphs) -> Any:
        """Read one token, with the captured step if there is one. Capture one while the reply is being spoken."""
        scores = graphs.read(kept, token)
        if scores is None:
            scores = self._forward([token], kept)
            if self.spoken and graphs.wants(kept) and not graphs.capture(kept, token, scores):
                kept.cache.crop(len(kept.tokens))
                scores = self._forward([token], kept)
        kept.tokens.append(token)
        return scores

    def _forward(self, tokens: list[int], kept: KvCache) -> Any:
        import torch

        ids = torch.tensor([tokens], device=self._model.device)
        mask = ids.new_ones((1, len(kept.tokens) + len(tokens))) if self._long_mask else None
        with torch.inference_mode():
            output = self._model(
                input_ids=ids,
                attention_mask=mask,
                past_key_values=kept.cache,
                use_cache=True,
                return_dict=True,
                **self._last_only,
            )
        return output.logits[:, -1, :].float()


def model_info(options: LoadOptions, config: Any, tokenizer: Any, folder: Path) -> ModelInfo:
    """Return what prompts are formatted by."""
    tokens, template = control_tokens(tokenizer), chat_template(tokenizer, folder)
    architecture = str(getattr(config, "model_type", ""))
    return ModelInfo(
        name=options.model,
        family=prompt_family([options.model, str(folder)], tokens, template, architecture),
        context_window=context_window(options, config, tokenizer),
        chat_template=template,
        bos_token=str(tokenizer.bos_token or ""),
        eos_token=str(tokenizer.eos_token or ""),
        control_tokens=tokens,
        architecture=architecture,
        engine="transformers",
        path=str(folder),
    )


def control_tokens(tokenizer: Any) -> tuple[str, ...]:
    """Return the texts that the tokenizer matches before words: special tokens and other added ones. Added tokens that
    are plain words (names and emotes in some fine-tuned models) are left out."""
    added = [token for token in tokenizer.added_tokens_decoder.values() if token.special or _SIGN.search(token.content)]
    return representatives([*tokenizer.all_special_tokens, *(token.content for token in added)])


def chat_template(tokenizer: Any, folder: Path) -> str:
    """Return the tokenizer's own template, else the one in a separate file, where only newer versions and image
    processors look. Of several named templates, the default."""
    template = getattr(tokenizer, "chat_template", None) or template_in(folder)
    if isinstance(template, dict):
        template = template.get("default") or next(iter(template.values()), "")
    return template if isinstance(template, str) else ""


def template_in(folder: Path) -> Any:
    """Return what ``chat_template.jinja`` or ``chat_template.json`` holds: one template, several by name, or None."""
    with contextlib.suppress(OSError, ValueError):
        return bounded.read_text(folder / "chat_template.jinja")
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        found = bounded.read_json(folder / "chat_template.json")["chat_template"]
        return {part["name"]: part["template"] for part in found} if isinstance(found, list) else found
    return None


def context_window(options: LoadOptions, config: Any, tokenizer: Any) -> int:
    """Return the smallest limit, in tokens, of settings, configuration and tokenizer."""
    config = getattr(config, "text_config", config)
    limits = [getattr(config, name, 0) or 0 for name in ("max_position_embeddings", "n_positions", "max_seq_len")]
    limits += [int(getattr(tokenizer, "model_max_length", 0) or 0), options.context_window]
    return min((limit for limit in limits if 0 < limit < _NO_LIMIT), default=2048)


def advice_in(config: Any) -> Sampling:
    """Return the sampling in the model's generation settings, if they sample at all."""
    return advice_of(config.to_diff_dict()) if getattr(config, "do_sample", False) else Sampling()


def end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return every token that ends a reply, from generation settings, configuration and tokenizer."""
    found: set[int] = set()
    for value in (model.generation_config.eos_token_id, model.config.eos_token_id, tokenizer.eos_token_id):
        found.update([value] if isinstance(value, int) else value or [])
    added = tokenizer.get_added_vocab()
    found.update(added[token] for token in _TURN_ENDS if token in added)
    return frozenset(found)


def _open(folder: Path, options: LoadOptions) -> tuple[Any, Any]:
    import torch
    from transformers import AutoConfig, AutoTokenizer

    if options.threads > 0:
        torch.set_num_threads(options.threads)
    with readable(folder) as place:
        config = AutoConfig.from_pretrained(place, trust_remote_code=False, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=False, local_files_only=True)
    config._name_or_path = str(folder)
    return tokenizer, config


def _describe(loaded: Loaded, info: ModelInfo, steps: Mapping[str, float]) -> LoadedModel:
    plan = loaded.plan
    return LoadedModel(
        info=info,
        engine="transformers",
        device=str(loaded.model.device),
        dtype=plan.dtype,
        quantization=plan.quantization,
        memory_bytes=int(loaded.model.get_memory_footprint()),
        parameters=int(loaded.model.num_parameters()),
        advice=advice_in(loaded.model.generation_config),
        load_seconds=sum(steps.values()),
        load_steps=steps,
        notes=loaded.notes,
    )


@contextlib.contextmanager
def _explained(reader: _CachedModel) -> Iterator[None]:
    """Turn an error inside the model into an EngineError, and release the caches."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        reader.forget()
        raise _engine_error(error) from error


@contextlib.contextmanager
def _noting_the_reader_left(stats: GenerationStats) -> Iterator[None]:
    try:
        yield
    except GeneratorExit:
        stats.finish_reason = "cancelled"
        raise


def _engine_error(error: BaseException) -> EngineError:
    if is_out_of_memory(error):
        return EngineError(
            "The local model ran out of memory while writing. Close other programs, or set a smaller context window "
            "or a smaller model."
        )
    return EngineError(f"The local model failed while writing ({first_line(error)}).")
