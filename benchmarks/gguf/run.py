"""The GGUF engine behind its worker: tokens a second beside the bare binding and llama.cpp's server over HTTP, and
what a kept prompt saves; on a graphics card the same beside llama-bench, if a llama-server for it is on the computer.

    python -m benchmarks.gguf [--size 110m] [--rounds 7] [--tokens 500 1000 2000] [--llama-cpp-python PYTHON]
        [--llama-server PATH]

The model is made on the spot. All sides hold the same file and take turns, so that a busy machine slows all alike.
The bare binding gets the worker's way of waiting (``PATIENT``) unless ``--spinning`` is given.
Needs the package gguf and the extra of that name.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import requests
import sseclient

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [path for path in (str(ROOT), str(ROOT / "hooks")) if path not in sys.path]

from benchmarks.gguf.model import SIZES, WINDOW, make  # noqa: E402
from zwaif_fallback.engine_types import Generation, GenerationStats, LoadOptions  # noqa: E402
from zwaif_fallback.llama_servers import LlamaProgram, environment, find  # noqa: E402
from zwaif_fallback.local.model import LocalModel  # noqa: E402
from zwaif_fallback.workers.worker_process import PATIENT  # noqa: E402
from zwaif_hooks.messages import Sampling  # noqa: E402

GREEDY = Sampling(temperature=0, repetition_penalty=1.0)
SENTENCE = "I was wondering what your perfect lazy day looks like, with tea and an old song on the radio. "


class Child:
    """A binding in a process of its own, by one of the programs beside this file; what it says first is ``about``."""

    def __init__(self, python: str, program: str, model: Path, threads: int, spinning: bool) -> None:
        command = [python, str(HERE / f"{program}.py"), str(model), str(WINDOW), str(threads)]
        environment = {**({} if spinning else PATIENT), **os.environ}
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self.about = self._answer()

    def generate(self, prompt: str, tokens: int) -> dict[str, float]:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps({"prompt": prompt, "n_predict": tokens}) + "\n")
        self._child.stdin.flush()
        answer: dict[str, float] = self._answer()
        return answer

    def _answer(self) -> Any:
        assert self._child.stdout is not None
        return json.loads(self._child.stdout.readline())

    def close(self) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        self._child.wait(30)


def generate_over_http(listens: dict[str, str], prompt: str, tokens: int) -> dict[str, float]:
    """The same from llama.cpp's server in the bare binding's process, as any client would ask it."""
    body = {"prompt": prompt, "n_predict": tokens, "stream": True, "temperature": 0, "cache_prompt": True}
    at: list[float] = []
    made, began = 0, time.perf_counter()
    headers = {"Authorization": f"Bearer {listens['key']}"}
    with requests.post(f"{listens['address']}/completion", json=body, headers=headers, stream=True) as response:
        response.raise_for_status()
        for event in sseclient.SSEClient(response).events():  # type: ignore[arg-type]
            chunk = json.loads(event.data)
            if chunk["content"]:
                at.append(time.perf_counter())
            made = chunk.get("tokens_predicted") or made
    return {"first": at[0] - began, "rest": at[-1] - at[0], "tokens": made - 1}


def generate(local: LocalModel, prompt: str, tokens: int, stats: GenerationStats | None = None) -> dict[str, float]:
    """The same through the local model: queue, pipes, worker and engine."""
    stats = stats or GenerationStats()
    at: list[float] = []
    began = time.perf_counter()
    for _ in local.generate(Generation(prompt, tokens, sampling=GREEDY), stats):
        at.append(time.perf_counter())
    return {"first": at[0] - began, "rest": at[-1] - at[0], "tokens": stats.generated_tokens - 1}


def speed(bare: Child, peer: Child | None, local: LocalModel, rounds: int, tokens: int) -> list[str]:
    """Tokens a second, medians of rounds in which each side goes first in turn."""
    prompt = SENTENCE * 10
    sides: dict[str, Any] = {
        "bare binding": lambda: bare.generate(prompt, tokens),
        "llama.cpp's server over HTTP": lambda: generate_over_http(bare.about, prompt, tokens),
        "engine behind its worker": lambda: generate(local, prompt, tokens),
    }
    if peer is not None:
        sides[f"llama-cpp-python {peer.about['version']}"] = lambda: peer.generate(prompt, tokens)
    rates: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(rounds + 1):
        for name in list(sides)[:: 1 if round_ % 2 else -1]:
            one = sides[name]()
            if round_:  # the first one reads the prompt
                rates[name].append(one["tokens"] / one["rest"])
    first, *_ = rates.values()
    rows = ["| side | beside the bare binding | tokens/s |", "|---|---|---|"]
    for name, found in rates.items():
        ratios = [one / other for one, other in zip(found, first, strict=True)]
        spread = f"{statistics.median(ratios):.3f} ({min(ratios):.2f} to {max(ratios):.2f})"
        rows.append(f"| {name} | {spread} | {statistics.median(found):.1f} |")
    return rows


def turns(local: LocalModel, lengths: Sequence[int], rounds: int) -> list[str]:
    """Time to the first token of a chat's next turn, beside the same prompt cold."""
    rows = ["| history | new | next turn | cold | ratio |", "|---|---|---|---|---|"]
    per_sentence = local.count_tokens([SENTENCE * 10])[0] / 10
    for length in lengths:
        warm, cold, new = [], [], []
        for round_ in range(rounds):
            chat = f"Chat {length} {round_}. " + SENTENCE * int(length / per_sentence)
            generate(local, chat, 12)
            chat += SENTENCE
            stats = GenerationStats()
            warm.append(generate(local, chat, 1, stats)["first"])
            new.append(stats.prompt_tokens - stats.reused_tokens)
            cold.append(generate(local, f"Another {length} {round_}" + chat, 1)["first"])
        one, other = statistics.median(warm), statistics.median(cold)
        times = f"{one * 1e3:.0f} ms | {other * 1e3:.0f} ms | {one / other:.1%}"
        rows.append(f"| {length} | {statistics.median(new):.0f} | {times} |")
    return rows


def on_card(model: Path, wish: str, rounds: int, tokens: int) -> list[str]:
    """Tokens a second of the engine with the llama-server that was found, beside the llama-bench next to it."""
    program = find(wish, print)
    if program is None:
        return ["No llama-server that sees a graphics card: no figures for the card."]
    rows = ["| side | tokens/s |", "|---|---|"]
    local = LocalModel()
    try:
        loaded = local.load(LoadOptions(str(model), context_window=WINDOW, llama_server=str(program.path)))
        found = [generate(local, SENTENCE * 10, tokens) for _ in range(rounds + 1)][1:]
    finally:
        local.close()
    rate = statistics.median(one["tokens"] / one["rest"] for one in found)
    rows.append(f"| engine behind its worker, {loaded.device} | {rate:.1f} |")
    bench = program.path.with_name(program.path.name.replace("server", "bench"))
    if not bench.is_file():
        return [*rows, "", f"No {bench.name} beside {program.path}: nothing to compare with."]
    return [*rows, f"| {bench.name} | {bench_rate(bench, program, model, rounds, tokens):.1f} |"]


def bench_rate(bench: Path, program: LlamaProgram, model: Path, rounds: int, tokens: int) -> float:
    """Tokens a second by llama.cpp's own benchmark, with all layers on the card."""
    command = [str(bench), "-m", str(model), "-ngl", "999", "-p", "0", "-n", str(tokens), "-r", str(rounds)]
    variables = environment(program.path, os.environ)
    done = subprocess.run([*command, "-o", "json"], stdout=subprocess.PIPE, env=variables, cwd=bench.parent, check=True)
    (result,) = json.loads(done.stdout)
    return float(result["avg_ts"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="110m")
    parser.add_argument("--kind", choices=("Q4_0", "Q8_0", "F16"), default="Q4_0")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--reply", type=int, default=128, help="tokens of each reply whose speed is taken")
    parser.add_argument("--tokens", type=int, nargs="*", default=[500, 1000, 2000], help="lengths of history")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--spinning", action="store_true", help="the bare binding's threads wait as they do by default")
    parser.add_argument("--llama-cpp-python", metavar="PYTHON", help="an interpreter that has it: one row more")
    parser.add_argument("--llama-server", default="auto", help="as API_FALLBACK_LLAMA_SERVER: path, auto or off")
    options = parser.parse_args()
    print(
        f"xllamacpp {importlib.metadata.version('xllamacpp')}, {platform.machine()}, {os.cpu_count()} cores, {options}"
    )
    with tempfile.TemporaryDirectory() as folder:
        model = make(Path(folder) / "random.gguf", options.size, options.kind)
        bare, local = Child(sys.executable, "bare", model, options.threads, options.spinning), LocalModel()
        python = options.llama_cpp_python
        peer = Child(python, "llama_cpp_python", model, options.threads, options.spinning) if python else None
        try:
            local.load(LoadOptions(str(model), device="cpu", context_window=WINDOW, threads=options.threads))
            print("\n".join(speed(bare, peer, local, options.rounds, options.reply)))
            bare.close()
            if peer is not None:
                peer.close()
            print("\n".join(["", *turns(local, options.tokens, options.rounds)]))
        finally:
            local.close()
        print("\n".join(["", *on_card(model, options.llama_server, options.rounds, options.reply)]))
