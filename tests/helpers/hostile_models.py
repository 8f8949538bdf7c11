"""Model files that nobody would make by accident: what a stranger can put into a folder where models are looked for."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from tests.helpers.made_models import CONFIG, LLAMA, gguf, text

NAN, INFINITY = float("nan"), float("inf")
ESCAPES = "\x1b]0;owned\x07\x1b[2J<img src=x onerror=alert(1)>"


def floats(key: str, values: Sequence[float]) -> bytes:
    return text(key) + struct.pack(f"<IIQ{len(values)}f", 9, 6, len(values), *values)


def words(key: str, count: int, word: bytes = b"") -> bytes:
    return text(key) + struct.pack("<IIQ", 9, 8, count) + (struct.pack("<Q", len(word)) + word) * count


def header(keys: Sequence[bytes], tensors: Sequence[bytes] = ()) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)


def with_floats(key: str, values: Sequence[float]) -> bytes:
    """A good file in which one number is a list of floats instead."""
    rest = {name: value for name, value in LLAMA.items() if name != key}
    good = gguf(rest)
    return good[:16] + struct.pack("<Q", len(rest) + 1) + floats(key, values) + good[24:]


def gguf_files() -> Iterator[tuple[str, bytes]]:
    """Small ones: lies in the numbers."""
    for key in ("context_length", "embedding_length", "block_count", "attention.head_count_kv", "pooling_type"):
        for values in ([NAN], [INFINITY], [NAN, 1.0], [-INFINITY, -1.0], [3.4e38], []):
            yield f"{key} {values}", with_floats(f"llama.{key}", values)
    yield "alignment", with_floats("general.alignment", [NAN])
    yield "file type", with_floats("general.file_type", [INFINITY])
    yield "escapes", gguf({**LLAMA, "general.name": ESCAPES, "general.architecture": ESCAPES})
    yield "escapes, usable", gguf({**LLAMA, "general.name": ESCAPES})


def gguf_bombs() -> Iterator[tuple[str, Callable[[], bytes]]]:
    """Large ones, made when they are needed: much work for few bytes."""
    for count in (100, 1024, 1025, 3000, 100_000):
        yield f"arrays of {count} words", partial(_word_arrays, min(4000, 900_000 // count), count)
    yield "words like keys", partial(_word_arrays, 800, 1025, b"tokenizer.")
    yield "a million words", partial(_word_arrays, 1, 1_000_000)
    nested = struct.pack("<IIQ", 9, 9, 900_000)
    yield "nested arrays", lambda: header([text("k") + nested + struct.pack("<IQ", 0, 0) * 900_000])
    yield "65,536 keys", partial(_keys, 65_536, struct.pack("<II", 4, 1))
    yield "4,000 keys", partial(_keys, 4000, struct.pack("<II", 4, 1))
    yield "number arrays", partial(_keys, 4000, struct.pack("<IIQ", 9, 7, 1024) + b"\1" * 1024)
    yield "20 MB of text", partial(_keys, 20, struct.pack("<IQ", 8, (1 << 20) - 40) + b"\xff" * ((1 << 20) - 40))
    yield "8,000 tensors", partial(_tensors, 8000)
    yield "a million tensors", partial(_tensors, 1_000_000)
    for byte in (b"\0", b"\1", b"\xff"):
        yield f"40 MB of {byte!r}", partial(_endless, byte)


def _word_arrays(arrays: int, count: int, word: bytes = b"") -> bytes:
    return header([words(f"k{number:06}", count, word) for number in range(arrays)])


def _keys(count: int, value: bytes) -> bytes:
    return header([text(f"k{number}") + value for number in range(count)])


def _tensors(count: int) -> bytes:
    return header([], [text(f"t{number:06}") + struct.pack("<IQIQ", 1, 1, 0, 0) for number in range(count)])


def _endless(byte: bytes) -> bytes:
    return header([text("k") + struct.pack("<IIQ", 9, 8, 1025)]) + byte * 40_000_000


def safetensors(shape: Any, count: int = 1, dtype: Any = "F32", offsets: Any = (0, 0)) -> bytes:
    entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    return raw_safetensors(json.dumps({f"t{number}": entry for number in range(count)}).encode())


def raw_safetensors(head: bytes) -> bytes:
    return struct.pack("<Q", len(head)) + head


def folders() -> Iterator[tuple[str, Mapping[str, bytes]]]:
    """Folders in transformers' form, by file."""
    config = json.dumps(CONFIG).encode()

    def weights(content: bytes) -> Mapping[str, bytes]:
        return {"config.json": config, "model.safetensors": content}

    yield "overflow", weights(safetensors([10**300, 10**300]))
    yield (
        "huge number",
        weights(raw_safetensors(b'{"t":{"dtype":"F32","shape":[1%s],"data_offsets":[0,0]}}' % (b"0" * 5000))),
    )
    yield "float shape", weights(safetensors([1e308, 1e308]))
    yield "infinite shape", weights(safetensors([INFINITY]))
    yield "nan shape", weights(safetensors([NAN]))
    yield "nan offset", weights(safetensors([1], offsets=[0, NAN]))
    yield "text offset", weights(safetensors([1], offsets=["0", "4"]))
    yield "shape is text", weights(safetensors("12"))
    yield "shape is true", weights(safetensors([True]))
    yield "40,000 sides", weights(safetensors([2**63 - 1] * 40_000))
    yield "100,000 tensors", weights(safetensors([1], 100_000))
    yield "10,000 tensors", weights(safetensors([1], 10_000))
    yield "nested", weights(raw_safetensors(b"[" * 200_000))
    yield "nested objects", weights(raw_safetensors(b'{"a":' * 100_000))
    yield "nested shape", weights(safetensors([[[[1]]]]))
    yield (
        "nested dtype",
        weights(raw_safetensors(b'{"t":{"shape":[1],"data_offsets":[0,0],"dtype":%s}}' % (b"[" * 900 + b"]" * 900))),
    )
    yield "float digits", weights(raw_safetensors(b'{"t":[%s0]}' % (b"-0.00000000000000000001e-300," * 100_000)))
    yield "no object", weights(raw_safetensors(b"[]"))
    yield "not UTF-8", weights(raw_safetensors(b'{"\xff":0}'))
    good = safetensors([1])
    for name, content in _configs():
        yield f"config: {name}", {"config.json": content, "model.safetensors": good}
        yield f"tokenizer: {name}", {"config.json": config, "tokenizer_config.json": content, "model.safetensors": good}
        yield f"index: {name}", {"config.json": config, "model.safetensors.index.json": content}
    outside = {"a": "../../../../../../etc/passwd", "b": ["x"], "c": None, "d": {}}
    yield "index outside", {"config.json": config, "model.safetensors.index.json": _json({"weight_map": outside})}


def _configs() -> Iterator[tuple[str, bytes]]:
    odd: list[Any] = [None, True, NAN, INFINITY, 1e308, 10**30, -1, "", [], {}, [[]], "\ud800", ESCAPES, "../../x\0y"]
    numbers = (
        "max_position_embeddings",
        "num_hidden_layers",
        "num_attention_heads",
        "hidden_size",
        "head_dim",
        "vocab_size",
    )
    for value in odd:
        yield f"numbers {value!r}", _json({**CONFIG, **dict.fromkeys(numbers, value)})
        texts = {"model_type": value, "architectures": [value], "quantization_config": {"quant_method": value}}
        yield f"texts {value!r}", _json({**CONFIG, **texts})
        yield f"text_config {value!r}", _json({**CONFIG, "text_config": value, "architectures": value})
        yield f"weight_map {value!r}", _json({"weight_map": value})
        yield f"whole {value!r}", _json(value)
    yield "tiny divisor", _json({**CONFIG, "num_attention_heads": 1e-9, "hidden_size": 1e11})
    yield "nested", b"[" * 200_000
    yield "nested value", b'{"model_type":%s}' % (b"[" * 900 + b"]" * 900)
    yield "digits", b'{"model_max_length":%s}' % (b"9" * 1_000_000)
    yield "commas", b"[" + b"0," * 1_000_000 + b"0]"
    yield "empty", b""
    yield "NUL", b"\0" * 1000


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
