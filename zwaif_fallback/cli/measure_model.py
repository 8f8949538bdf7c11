"""Measure one model on this computer: load time, time to the first word, speed and memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadedModel, LoadOptions
from zwaif_fallback.errors import EngineError
from zwaif_fallback.hardware import gpus_now
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.models.measurements import Measurement
from zwaif_fallback.prompt import formats
from zwaif_hooks.messages import Message, ModelInfo, Sampling

TOKENS = 96
"""Longest reply generated, in tokens."""
_CARD = (
    "You are Mia, a cheerful companion who lives in a lighthouse by the sea. You collect shells, you know every ship "
    "by the sound of its horn, and you speak warmly, in short sentences, and never as a machine would. "
) * 6
"""System prompt about as long as a character card."""
_FIRST = "Tell me a long story about the storm of last winter, with the keeper, the cat and the broken lamp."
_SECOND = "And what did the cat do when the lamp went out? Tell me all of it."
_LEAST = 8
"""Tokens; a rate from fewer means nothing."""


@dataclass(frozen=True)
class _Reply:
    text: str
    first: float
    """Seconds until the first text."""
    rest: float
    """Seconds from the first text to the last."""
    stats: GenerationStats


def measure(
    local: LocalModel,
    options: LoadOptions,
    say: Callable[[str], None],
    *,
    tokens: int = TOKENS,
    now: Callable[[], float] = time.time,
) -> Measurement:
    """Load the model into ``local``, which must be empty, and generate two replies with it.

    Raises:
        FallbackError: The model cannot be loaded, or generates nothing.
    """
    free_before = _graphics_memory_free()
    say(f"Loading {options.model} …")
    started = time.perf_counter()
    loaded = local.load(options, say)
    load_seconds = time.perf_counter() - started
    say("First reply …")
    talk = [Message("system", _CARD), Message("user", _FIRST)]
    cold = _speak(local, loaded.info, talk, tokens)
    say("Second reply …")
    warm = _speak(local, loaded.info, [*talk, Message("assistant", cold.text), Message("user", _SECOND)], tokens)
    return Measurement(
        model=options.model,
        measured_at=now(),
        engine=loaded.engine,
        device=loaded.device,
        form=loaded.quantization or loaded.dtype,
        load_seconds=load_seconds,
        load_steps=loaded.load_steps,
        prompt_tokens=cold.stats.prompt_tokens,
        first_token_cold=cold.first,
        first_token_warm=warm.first,
        tokens_per_second=_rate(cold, warm),
        peak_memory=_peak_memory(local.pid),
        graphics_memory=_used(loaded, free_before),
    )


def _speak(local: LocalModel, model: ModelInfo, talk: Sequence[Message], tokens: int) -> _Reply:
    """Generate one reply. Greedy, so two runs of one model say the same."""
    generation = Generation(formats.render(talk, model, ""), max_tokens=tokens, sampling=Sampling(temperature=0))
    stats, text, first = GenerationStats(), "", 0.0
    started = last = time.perf_counter()
    for piece in local.generate(generation, stats):
        last = time.perf_counter()
        first = first or last - started
        text += piece
    if not text.strip():
        raise EngineError(f"{model.name} was loaded but wrote nothing. Choose another model: zwaif-fallback models")
    return _Reply(text, first, last - started - first, stats)


def _rate(*replies: _Reply) -> float:
    """Return tokens per second after the first token, whose time is spent on the prompt."""
    spoken = sum(reply.stats.generated_tokens - 1 for reply in replies)
    seconds = sum(reply.rest for reply in replies)
    return spoken / seconds if spoken >= _LEAST and seconds > 0 else 0.0


def _peak_memory(pid: int | None) -> int:
    """Return the peak memory of a process and its children in bytes, or the current one if no peak is known."""
    if pid is None:
        return 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        return sum(_high_water(process.pid) or int(process.memory_info().rss) for process in family)
    except (OSError, psutil.Error):
        return 0


def _high_water(pid: int) -> int:
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
    return int(getattr(psutil.Process(pid).memory_info(), "peak_wset", 0))


def _graphics_memory_free() -> int:
    return sum(gpu.free for gpu in gpus_now())


def _used(loaded: LoadedModel, free_before: int) -> int:
    return 0 if loaded.device == "cpu" else max(0, free_before - _graphics_memory_free())
