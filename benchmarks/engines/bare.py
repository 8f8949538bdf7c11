"""A bare library in a process of its own: one JSON line in (what to write on from), one out (how fast it was)."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


class Generate:
    """``model.generate`` of transformers, greedy, as its documentation calls it."""

    def __init__(self, folder: str) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = AutoModelForCausalLM.from_pretrained(folder, torch_dtype=torch.bfloat16).eval()

    def reply(self, text: str, tokens: int) -> list[float]:
        from transformers.generation.streamers import BaseStreamer

        class Clock(BaseStreamer):  # type: ignore[misc]
            def __init__(self) -> None:
                self.at: list[float] = []

            def put(self, value: Any) -> None:
                self.at.append(time.perf_counter())

            def end(self) -> None:
                """Nothing was held back."""

        clock = Clock()
        ids = self._tokenizer(text, return_tensors="pt").input_ids
        self._model.generate(
            ids,
            attention_mask=ids.new_ones(ids.shape),
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
            streamer=clock,
        )
        return clock.at[1:]  # the prompt itself comes first


class CTranslate2:
    """Its own generator on the converted model."""

    def __init__(self, folder: str) -> None:
        import ctranslate2  # type: ignore[import-not-found,unused-ignore]
        from ctranslate2.converters import TransformersConverter  # type: ignore[import-not-found,unused-ignore]
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        with tempfile.TemporaryDirectory() as target:
            output = Path(target) / "model"
            TransformersConverter(folder).convert(str(output), quantization="int8")
            self._generator = ctranslate2.Generator(str(output), device="cpu", compute_type="int8")

    def reply(self, text: str, tokens: int) -> list[float]:
        words = self._tokenizer.convert_ids_to_tokens(self._tokenizer(text).input_ids)
        steps = self._generator.generate_tokens(words, max_length=tokens, sampling_topk=1, end_token=[])
        return [time.perf_counter() for _ in steps]


def main() -> None:
    way, folder = sys.argv[1:]
    bare: Any = {"generate": Generate, "ctranslate2": CTranslate2}[way](folder)
    for line in sys.stdin:
        request = json.loads(line)
        began = time.perf_counter()
        at = bare.reply(request["text"], request["tokens"])
        print(json.dumps({"first": at[0] - began, "rate": (len(at) - 1) / (at[-1] - at[0])}), flush=True)


main()
