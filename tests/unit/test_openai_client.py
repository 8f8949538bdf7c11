"""The reader of OpenAI-style answers: how they are unpacked, and what counts as a broken connection."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator

import pytest
import requests
from urllib3 import HTTPResponse

from zwaif_hooks.network import decompress, sse
from zwaif_hooks.network.openai_client import parts_of, read_reply
from zwaif_hooks.stream import CancelScope, Chunk, PrimaryError

EVENT = b'data: {"choices": [{"delta": {"content": "Hello"}}]}\n\ndata: [DONE]\n\n'


def packed(text: bytes, wbits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    return packer.compress(text) + packer.flush()


def answer(body: bytes, encoding: str) -> requests.Response:
    response = requests.Response()
    response.status_code = 200
    headers = {"Content-Encoding": encoding} if encoding else {}
    response.raw = HTTPResponse(io.BytesIO(body), headers=headers, preload_content=False)
    return response


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("", lambda text: text),
        ("identity", lambda text: text),
        ("gzip", lambda text: packed(text, zlib.MAX_WBITS | 16)),
        ("GZIP", lambda text: packed(text, zlib.MAX_WBITS | 16)),
        ("deflate", lambda text: packed(text, zlib.MAX_WBITS)),
        ("deflate", lambda text: packed(text, -zlib.MAX_WBITS)),  # without a header, as many servers send it
    ],
)
def test_an_answer_is_unpacked(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    assert b"".join(parts_of(answer(pack(EVENT * 3000), encoding))) == EVENT * 3000


def test_what_unpacks_to_more_than_a_reply_can_hold_is_given_up_in_small_pieces() -> None:
    bomb = packed(b" " * (100 << 20), zlib.MAX_WBITS | 16)
    seen = 0
    with pytest.raises(PrimaryError, match="64 MB"):
        for part in parts_of(answer(bomb, "gzip")):
            assert len(part) <= decompress.AT_ONCE
            seen += len(part)
    assert seen <= 64 << 20


def test_a_packing_that_nobody_asked_for_is_not_unpacked_by_a_library() -> None:
    with pytest.raises(PrimaryError, match=r"nobody asked for \(br\)"):
        list(parts_of(answer(b"\x0b\x02\x80ab\x03", "br")))


def test_a_damaged_packing_is_told_in_one_line() -> None:
    with pytest.raises(PrimaryError, match="cannot be unpacked"):
        list(parts_of(answer(b"\xff" * 100, "gzip")))


def read(scope: CancelScope) -> list[Chunk]:
    return list(read_reply(lambda: answer(EVENT, ""), "somewhere:1", scope))


def test_a_fault_of_ours_is_no_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    def faulty(parts: object) -> Iterator[Chunk]:
        raise AttributeError("a mistake in this package")

    monkeypatch.setattr(sse, "read_reply", faulty)
    with pytest.raises(AttributeError, match="a mistake"):
        read(CancelScope())
    given_up = CancelScope()
    given_up.cancel()
    with pytest.raises(PrimaryError, match="given up"):
        read(given_up)
