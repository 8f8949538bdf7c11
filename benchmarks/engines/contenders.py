"""Who takes part: each in a process of its own, one JSON line in, one out."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions
from zwaif_fallback.local.model import LocalModel
from zwaif_fallback.workers.worker_process import PATIENT
from zwaif_hooks.messages import Sampling

ROOT = Path(__file__).resolve().parents[2]
OURS = "ours, "
WORD = " day"
"""Repeated, it makes a prompt of about as many tokens."""
GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
Figures = dict[str, float]


class Contender(Protocol):
    def reply(self, prompt: int, tokens: int, number: int) -> Figures:
        """One reply: ``first`` seconds to the first token, ``rate`` tokens a second behind it. A fresh prompt for
        each ``number``."""

    def close(self) -> None: ...


class Ours:
    """Supervisor, pipe, worker and engine, as Z-Waif has them."""

    def __init__(self, model: Path, quantization: str) -> None:
        self._local = LocalModel()
        dtype = "bfloat16" if quantization == "none" else "auto"
        self._local.load(LoadOptions(str(model), device="cpu", quantization=quantization, dtype=dtype))

    def reply(self, prompt: int, tokens: int, number: int) -> Figures:
        stats = GenerationStats()
        began, at = time.perf_counter(), list[float]()
        for _ in self._local.generate(Generation(f"{number}" + WORD * prompt, tokens, sampling=GREEDY), stats):
            at.append(time.perf_counter())
        return {"first": at[0] - began, "rate": (stats.generated_tokens - 1) / (at[-1] - at[0])}

    def close(self) -> None:
        self._local.close()


class Child:
    """A bare library behind ``benchmarks.engines.bare``."""

    def __init__(self, model: Path, way: str) -> None:
        environment = {**PATIENT, **os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "hooks")])}
        command = [sys.executable, "-m", "benchmarks.engines.bare", way, str(model)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def reply(self, prompt: int, tokens: int, number: int) -> Figures:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps({"text": f"{number}" + WORD * prompt, "tokens": tokens}), file=self._process.stdin, flush=True)
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


ALL: dict[str, tuple[str, str]] = {
    OURS + "as published": ("torch", "none"),
    OURS + "auto": ("torch", "auto"),
    OURS + "4bit": ("torch", "4bit"),
    "bare model.generate, bfloat16": ("torch", "generate"),
    "CTranslate2, int8": ("ctranslate2", "ctranslate2"),
}
"""By name: the module that has to be installed, and the way to run it. GGUF has a program of its own."""


@contextlib.contextmanager
def started(model: Path, only: Sequence[str] | None) -> Iterator[tuple[dict[str, Contender], list[str]]]:
    """Who was asked for and can take part, and a line for everyone who cannot."""
    running, missing = dict[str, Contender](), list[str]()
    try:
        for name, (module, way) in ALL.items():
            if only and name not in only:
                continue
            if importlib.util.find_spec(module) is None:
                missing.append(f"{name} ({module} is not installed)")
            else:
                running[name] = Ours(model, way) if name.startswith(OURS) else Child(model, way)
        yield running, missing
    finally:
        for contender in running.values():
            contender.close()
