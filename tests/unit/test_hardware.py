"""Sizes are read from headers, and a machine without a card is an ordinary machine."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from zwaif_fallback import hardware
from zwaif_fallback.models import memory

CONFIG = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 3, "hidden_size": 32}


def write_model(folder: Path, tensors: dict[str, list[int]], name: str = "model.safetensors") -> Path:
    header, offset = {}, 0
    for tensor, shape in tensors.items():
        size = 2
        for side in shape:
            size *= side
        header[tensor] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    data = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    (folder / name).write_bytes(struct.pack("<Q", len(data)) + data + bytes(offset))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder


def test_estimate_counts_weights_and_cache(tmp_path: Path) -> None:
    write_model(tmp_path, {"model.embed_tokens.weight": [100, 32], "model.norm.weight": [32]}, "model-1.safetensors")
    write_model(tmp_path, {"q_proj.weight": [32, 32]}, "model-2.safetensors")
    write_model(tmp_path, {"everything_again": [9999]}, "consolidated.safetensors")
    weights = memory.read_weights(tmp_path)
    assert (weights.parameters, weights.quantizable) == (4256, 1024)
    half = memory.estimate_memory(tmp_path, context_window=10)
    assert half.weights == 8512
    assert half.kv_cache == 2 * 3 * 2 * 8 * 10 * 2
    assert half.total == half.weights + half.kv_cache + memory.RUNTIME_BYTES
    assert memory.estimate_memory(tmp_path, dtype="float32").weights == 2 * 8512
    assert memory.estimate_memory(tmp_path, quantization="4bit").weights == int(3232 * 2 + 1024 * 0.53)


@pytest.mark.parametrize("content", [b"", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"])
def test_what_is_no_weights_file_says_so(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match="not a safetensors file"):
        memory.read_weights(tmp_path)


def test_cards_are_read_from_the_driver_s_table() -> None:
    table = "NVIDIA GeForce RTX 4090, 24564, 20000\nOdd, name, 8192, 100\nBroken, [N/A], [N/A]\n"
    first, second = hardware.parse_gpus(table)
    assert (first.name, first.free) == ("NVIDIA GeForce RTX 4090", 20000 * 1024 * 1024)
    assert second.name == "Odd, name"
    assert hardware.Memory(1, 1, (first, second)).best_gpu == first


def test_without_the_driver_there_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.shutil, "which", lambda name: None)
    assert hardware.gpus_now() == ()
    assert hardware.Memory(1, 1).best_gpu is None


def test_a_driver_that_fails_is_no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware.shutil, "which", lambda name: sys.executable)
    assert hardware.gpus_now() == ()

    def hang(*args: object, **kwargs: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 5)

    monkeypatch.setattr(hardware.subprocess, "run", hang)
    assert hardware.gpus_now() == ()


def test_this_machine() -> None:
    now = hardware.memory_now()
    assert 0 < now.ram_free <= now.ram_total
    assert hardware.cpu_cores() >= 1
