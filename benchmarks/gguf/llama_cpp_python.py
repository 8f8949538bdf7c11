"""llama-cpp-python in a process of its own, speaking as ``bare`` does.

Needs nothing of ours, so that any Python that has the package can run it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any

import llama_cpp


def main() -> None:
    path, window, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) or os.cpu_count() or 1
    model = llama_cpp.Llama(path, n_ctx=window, n_threads=threads, n_threads_batch=threads, verbose=False)
    print(json.dumps({"version": llama_cpp.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps(generate(model, **json.loads(line))), flush=True)


def generate(model: Any, prompt: str, n_predict: int) -> dict[str, float]:
    """Seconds to the first text and from there to the last, and the tokens in between."""
    at: list[float] = []
    began = time.perf_counter()
    for chunk in model.create_completion(prompt, max_tokens=n_predict, temperature=0, stream=True):
        if chunk["choices"][0]["text"]:
            at.append(time.perf_counter())
    made = model.n_tokens - len(model.tokenize(prompt.encode(), special=True))  # it tells a stream no usage
    return {"first": at[0] - began, "rest": at[-1] - at[0], "tokens": made - 1}


main()
