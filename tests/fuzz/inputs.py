"""Inputs from seeds: good ones changed a little, and hostile ones built by each format's grammar."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

Chance = random.Random
Shape = Callable[[Chance], bytes]

_NUMBERS = (0, 1, 255, 1025, 65_536, 8_000_000, 1 << 31, 1 << 32, 1 << 62, 1 << 63, (1 << 64) - 1)
_SNIPPETS = (
    *(b"\n\n", b"data: ", b"event: error\n", b"{", b"[", b"}", b"]", b'"', b"\r", b"\0", b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"null", b"true", b"1e999", b"-1", b"NaN", b"\\ud800", b"\xed\xa0\x80", b"=", b"#", b"export ", b"'", b"${A}"),
    *(
        b": ",
        b"&a ",
        b"*a",
        b"<<: *a",
        b"!!int ",
        b"!!timestamp ",
        b"\xe2\x80\xa8",
        b"\x85",
        b"\x1b[2J",
        b"\\",
        b"9" * 50,
    ),
)


def changed(data: bytes, chance: Chance) -> bytes:
    """The same with one to eight changes."""
    result = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        _change(result, chance)
    return bytes(result)


def _change(data: bytearray, chance: Chance) -> None:
    place = chance.randrange(len(data) + 1)
    what = chance.randrange(8)
    if what == 0 and data:
        data[place % len(data)] = chance.randrange(256)
    elif what == 1 and data:
        data[place % len(data)] ^= 1 << chance.randrange(8)
    elif what == 2:
        data[place:place] = chance.randbytes(chance.randrange(9))
    elif what == 3:
        del data[place : place + chance.randrange(1, 20)]
    elif what == 4:
        data[place : place + 8] = struct.pack("<Q", chance.choice(_NUMBERS))
    elif what == 5:
        start = chance.randrange(len(data) + 1)
        data[place:place] = data[start : start + chance.randrange(200)]
    elif what == 6:
        data[place:place] = chance.choice(_SNIPPETS)
    else:
        start = chance.randrange(len(data) + 1)
        data[place:place] = data[start : start + 8] * chance.choice((10, 100, 3000))


def cut(data: bytes, chance: Chance) -> list[bytes]:
    """In the parts in which a network might bring it."""
    parts, place = [], 0
    while place < len(data):
        size = chance.choice((1, 2, 7, 64, 4096, 65_536))
        parts.append(data[place : place + size])
        place += size
    return parts


def value(chance: Chance, names: Sequence[str], depth: int = 0) -> Any:
    """Any JSON value, its objects under the names that the reader looks for."""
    kind = chance.randrange(11 if depth < 4 else 8)
    if kind == 0:
        return chance.choice((None, True, False, float("nan"), float("inf"), -float("inf"), 1e308, -0.0))
    if kind in (1, 2):
        return chance.choice((*_NUMBERS, -1, 10**39, 10**60, -(10**30), 0.5, 1e-9, 2**53 + 1))
    if kind < 8:
        return chance.choice(("", "x", "\ud800", "\x1b]0;x\x07", "../../x\0", "a" * 5000, *names))
    if kind == 8:
        return [value(chance, names, depth + 1) for _ in range(chance.randrange(5))]
    return {chance.choice(names): value(chance, names, depth + 1) for _ in range(chance.randrange(6))}


def odd_json(chance: Chance, names: Sequence[str]) -> bytes:
    """A JSON text that is unusual, endless, or nearly one."""
    kind = chance.randrange(12)
    if kind == 0:
        return chance.choice((b"[", b'{"a":', b'[{"choices":')) * chance.choice((10, 990, 100_000))
    if kind == 1:
        many = chance.choice((b"0,", b"[],", b'"",', b"1e1,", b'{"":0},', b"-0.00000000000001e-300,", b"null,"))
        return b"[" + many * chance.choice((10, 3000, 100_000)) + b"0]"
    if kind == 2:
        return b'{"%s":%s}' % (chance.choice(names).encode(), b"9" * chance.choice((20, 41, 5000, 1_000_000)))
    if kind == 3:
        deep = chance.choice((100, 900))
        return b'{"%s":%s}' % (chance.choice(names).encode(), b"[" * deep + b"]" * deep)
    made = {chance.choice(names): value(chance, names) for _ in range(chance.randrange(8))}
    text = json.dumps(made if kind < 11 else list(made.values())).encode()
    return changed(text, chance) if kind == 4 else text


def gguf(chance: Chance) -> bytes:
    """A header whose parts are right and whose numbers may not be."""
    keys = [_key(chance) for _ in range(chance.choice((0, 1, 3, 12, 12, 500)))]
    tensors = [_tensor(chance) for _ in range(chance.choice((0, 1, 4, 4, 800)))]
    counts = [len(tensors), len(keys)]
    if chance.random() < 0.1:
        counts[chance.randrange(2)] = chance.choice(_NUMBERS)
    return b"GGUF" + struct.pack("<IQQ", chance.choice((2, 3, 3, 3)), *counts) + b"".join((*keys, *tensors))


_GGUF_KEYS = (
    *("general.architecture", "general.name", "general.type", "general.alignment", "general.file_type", "x", ""),
    *(f"llama.{name}" for name in ("block_count", "context_length", "embedding_length", "pooling_type")),
    *(f"llama.attention.{name}" for name in ("head_count", "head_count_kv", "key_length", "value_length")),
    *(f"tokenizer.{name}" for name in ("chat_template", "ggml.tokens", "ggml.merges", "ggml.bos_token_id")),
)
_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


def _text(content: bytes) -> bytes:
    return struct.pack("<Q", len(content)) + content


def _key(chance: Chance) -> bytes:
    name = chance.choice(_GGUF_KEYS)
    if name == "general.architecture":
        return _text(name.encode()) + struct.pack("<I", 8) + _text(b"llama")
    kind = chance.choice((4, 4, 6, 8, 8, 9, 9, 10, 11, 12, 5, 7, 99))
    return _text(name.encode()) + struct.pack("<I", kind) + _gguf_value(chance, kind, 0)


def _gguf_value(chance: Chance, kind: int, depth: int) -> bytes:
    if kind == 8:
        return _text(chance.choice((b"", b"llama", b"clip", b"\xff" * 100, b"\x1b[2J", b"tokenizer.", b"x" * 20_000)))
    if kind == 9:
        inner = chance.choice((4, 6, 8, 8, 9, 12, 77)) if depth < 6 else 4
        count = chance.choice((0, 1, 3, 3, 40, 1024, 1025, 3000))
        one = _gguf_value(chance, inner, depth + 1)[: 200 if count > 40 else 20_000]
        told = count if chance.random() < 0.95 else chance.choice(_NUMBERS)
        return struct.pack("<IQ", inner, told) + one * count
    if kind not in _FORMATS:
        return chance.randbytes(8)
    code = _FORMATS[kind]
    if code in "fd":
        return struct.pack(f"<{code}", chance.choice((0.0, -1.0, 3e38, float("nan"), float("inf"), 4096.0)))
    return chance.choice((0, 1, 32, 4096, (1 << 64) - 1, 1 << 63)).to_bytes(8, "little")[: struct.calcsize(code)]


def _tensor(chance: Chance) -> bytes:
    sides = chance.choice((0, 1, 1, 2, 2, 8, 9))
    shape = b"".join(struct.pack("<Q", chance.choice((0, 1, 64, 4096, *_NUMBERS))) for _ in range(sides))
    name = chance.choice((b"token_embd.weight", b"blk.0.x", b"v.x", b"", b"\xff"))
    tail = struct.pack("<IQ", chance.choice((0, 1, 2, 12, 200, 300)), chance.choice((0, 64, *_NUMBERS)))
    return _text(name) + struct.pack("<I", sides) + shape + tail


def safetensors(chance: Chance) -> bytes:
    names = ("dtype", "shape", "data_offsets", "__metadata__", "F32", "BF16", "t")
    if chance.random() < 0.3:
        head = odd_json(chance, names)
    else:
        head = json.dumps({f"t{number}": _entry(chance) for number in range(chance.choice((1, 2, 2, 300)))}).encode()
    length = len(head) if chance.random() < 0.95 else chance.choice(_NUMBERS)
    return struct.pack("<Q", length) + head + bytes(chance.choice((0, 64)))


def _entry(chance: Chance) -> Any:
    odd = value(chance, ("F32",))
    good: dict[str, Any] = {"dtype": "F32", "shape": [4, 4], "data_offsets": [0, 64]}
    place = chance.choice(("dtype", "shape", "data_offsets", "one side", "one offset", "nothing", "all"))
    if place in good:
        good[place] = odd
    elif place == "one side":
        good["shape"] = [odd] * chance.choice((1, 2, 9, 400))
    elif place == "one offset":
        good["data_offsets"] = [0, odd]
    return odd if place == "all" else good


def yaml(chance: Chance) -> bytes:
    """Lines that a card may be made of, and what YAML has besides."""
    if chance.random() < 0.1:
        unit = chance.choice((b"[", b"{a: ", b"- ", b"? ", b"a: 1\n", b"- &a [*a]\n", b"# x\n", b"a,", b"\t", b"!!x "))
        return unit * chance.choice((10, 900, 60_000))
    if chance.random() < 0.1:
        lines = ["x0: &a0 {k: v}", *(f"x{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9))]
        return "\n".join(lines).encode()
    values = (
        "|-\n  You are {{char}}.\n  Be kind.",
        "1",
        "~",
        "'x",
        '"\\ud800"',
        "1:" * 3000 + "1",
        "!!timestamp x",
        "&a [*a]",
    )
    tags = (
        "!!int ''",
        "!!bool x",
        "!!python/object:os.system x",
        "*b",
        "{a: b}",
        "[1, 2",
        "2001-99-99",
        "0b1",
        "0o9",
        ".inf",
    )
    keys = ("Character Card", "Description", "temperature", "<<", "? x", "!!int 1", "- a", "---", "%YAML 9.9")
    lines = [f"{chance.choice(keys)}: {chance.choice(values + tags)}" for _ in range(chance.randrange(1, 9))]
    return chance.choice(("\n", "\r\n", "\n  ")).join(lines).encode()


def env(chance: Chance) -> bytes:
    pieces = (
        "A",
        "B = ",
        "export X=",
        "'a b'",
        '"a\\nb"',
        "#",
        " # c",
        "${A}",
        "${",
        "\n",
        "\n",
        "\r\n",
        "\r",
        "=",
        " ",
        "é",
    )
    own = ("API_FALLBACK_HOST = old # keep\n", "API_FALLBACK_HOST_MODEL='x'\n", "export API_FALLBACK_HOST=\n")
    text = "".join(chance.choice(pieces + own) for _ in range(chance.randrange(40)))
    if chance.random() < 0.05:
        text += chance.choice(("A=1\n", "'", '"', "#\n", " ", "${A}")) * 120
    return text.encode() if chance.random() < 0.95 else text.encode("utf-8") + b"\xe4\x80"


def server_events(chance: Chance) -> bytes:
    names = (
        "choices",
        "delta",
        "content",
        "finish_reason",
        "message",
        "error",
        "index",
        "usage",
        "object",
        "stop",
        "text",
    )
    kind = chance.randrange(5)
    if kind == 0:
        return odd_json(chance, names)
    if kind == 1:
        unit = chance.choice(
            (b"data: {}\n\n", b": \n\n", b"data:\n", b"\n", b"x\n", b"data: [DONE]\n", b"event: x\n", b"\0")
        )
        return unit * chance.choice((10, 1000))
    lines = [
        chance.choice((b"data: ", b"data:", b"event: ", b"error: ", b"")) + odd_json(chance, names)[:2000]
        for _ in range(5)
    ]
    return chance.choice((b"\n\n", b"\r\n\r\n", b"\n")).join([*lines, chance.choice((b"data: [DONE]", b""))]) + b"\n\n"


def json_lines(chance: Chance, names: Sequence[str]) -> bytes:
    return b"\n".join(odd_json(chance, names)[:3000] for _ in range(chance.randrange(1, 5))) + b"\n"
