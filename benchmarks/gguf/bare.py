"""The bare binding in a process of its own: one JSON line in (what to generate), one out (how fast it was).

Its first line is where llama.cpp's own server listens in this process, and with which key.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import xllamacpp


def main() -> None:
    path, window, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers = path, window, 0
    params.fit_params, params.warmup, params.verbosity = False, False, 0
    key = os.urandom(16).hex()
    params.api_keys, params.hostnames, params.port = [key], ["127.0.0.1"], 0
    if threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    print(json.dumps({"address": server.listening_address, "key": key}), flush=True)
    for line in sys.stdin:
        print(json.dumps(generate(server, json.loads(line))), flush=True)
    os._exit(0)


def generate(server: Any, request: dict[str, Any]) -> dict[str, float]:
    """Seconds to the first text and from there to the last, and the tokens in between."""
    at: list[float] = []
    made: list[int] = []

    def take(chunk: dict[str, Any]) -> None:
        if chunk["choices"][0]["text"]:
            at.append(time.perf_counter())
        if "usage" in chunk:
            made.append(chunk["usage"]["completion_tokens"])

    began = time.perf_counter()
    server.handle_completions({"stream": True, "temperature": 0, "cache_prompt": True, **request}, take)
    return {"first": at[0] - began, "rest": at[-1] - at[0], "tokens": made[-1] - 1}


main()
