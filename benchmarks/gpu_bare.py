"""``model.generate`` as anybody would call it, each way in a process of its own: a warm process hides what the first
reply pays.

    python -m benchmarks.gpu_bare FOLDER WAY [--device cuda] [--weights bf16] [--tokens 128]

Prints one line of JSON: tokens a second of the first reply and, the median of three, of the same reply again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROMPT = "I was wondering what your perfect lazy day looks like, with tea and an old song on the radio. " * 8
AGAIN = 3
WAYS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "cuDNN attention off": {},
    "eager attention": {"attn_implementation": "eager"},
    "static cache": {},
}
"""Arguments for loading. The last one compiles by itself on a card, which needs triton and a C compiler."""
WEIGHTS = ("bf16", "4-bit")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--weights", choices=WEIGHTS, default="bf16")
    parser.add_argument("--tokens", type=int, default=128)
    asked = parser.parse_args()
    if asked.way == "cuDNN attention off":
        from zwaif_fallback.engines.decoding_graphs import disable_cudnn_attention

        disable_cudnn_attention()
    generate = replies(load(asked.folder, asked.way, asked.device, asked.weights), asked.folder, asked.way)
    first = rate(generate, asked.tokens)
    again = [rate(generate, asked.tokens) for _ in range(AGAIN)]
    print(json.dumps({"first": first, "again": statistics.median(again)}))


def load(folder: Path, way: str, device: str, weights: str) -> Any:
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    arguments: dict[str, Any] = {"torch_dtype": torch.bfloat16, "device_map": {"": 0 if device == "cuda" else device}}
    if weights == "4-bit" and device != "cpu":
        arguments["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16
        )
    return AutoModelForCausalLM.from_pretrained(folder, **arguments, **WAYS[way]).eval()


class Times:
    """A streamer that notes when the prompt and each token come."""

    def __init__(self) -> None:
        self.at: list[float] = []

    def put(self, tokens: Any) -> None:
        self.at.append(time.perf_counter())

    def end(self) -> None:
        """Nothing to do."""


def replies(model: Any, folder: Path, way: str) -> Callable[[int], list[float]]:
    """Return what writes a reply of so many tokens, and when each came."""
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt").input_ids.to(model.device)
    more = {"cache_implementation": "static"} if way == "static cache" else {}

    def generate(tokens: int) -> list[float]:
        times = Times()
        length = {"max_new_tokens": tokens, "min_new_tokens": tokens}
        model.generate(ids, do_sample=False, pad_token_id=0, streamer=times, **length, **more)
        return times.at[1:]

    return generate


def rate(generate: Callable[[int], list[float]], tokens: int) -> float:
    """Return tokens a second behind the first one."""
    at = generate(tokens)
    return (len(at) - 1) / max(at[-1] - at[0], 1e-9)


if __name__ == "__main__":
    main()
