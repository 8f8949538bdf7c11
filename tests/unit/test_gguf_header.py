"""The GGUF reader: what it reads, what it does not build, and that no file makes it hang, swell or fail otherwise."""

from __future__ import annotations

import io
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.helpers.made_models import LLAMA, STRING, TENSORS, gguf, text, value, write_gguf
from zwaif_fallback.models import gguf_header, gguf_types
from zwaif_fallback.models.gguf_header import BadHeader, SkippedArray, read_header, read_stream

VOCABULARY = [f"word {number}" for number in range(5_000)]


class CountedFile(io.BytesIO):
    """Counts what is read from it."""

    asked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.asked += len(data)
        return data


def read(data: bytes) -> gguf_header.GgufHeader:
    return read_stream(io.BytesIO(data), len(data))


def test_what_a_file_says_about_itself(tmp_path: Path) -> None:
    header = read_header(write_gguf(tmp_path / "tiny.gguf", {**LLAMA, "x.flag": True, "x.base": 0.5, "x.list": [1, 2]}))
    assert header.text("general.name") == "Tiny"
    assert (header.number("llama.context_length"), header.number("x.list"), header.number("gone")) == (4096, 2, 0)
    assert (header.metadata["x.flag"], header.metadata["x.base"], header.metadata["x.list"]) == (True, 0.5, (1, 2))
    assert header.count("tokenizer.ggml.tokens") == 3
    assert header.parameters == 256 * 4 + 256 * 8 + 256
    assert header.is_whole and header.file_size == header.full_size
    assert header.data_start % 32 == 0


def test_a_cut_file_is_known_by_its_size(tmp_path: Path) -> None:
    header = read_header(write_gguf(tmp_path / "cut.gguf", cut=1))
    assert not header.is_whole and header.full_size == header.file_size + 1


@pytest.mark.parametrize("behind", ["tokenizer.ggml.bos_token_id", "general.quantization_version", "mine.own"])
def test_a_vocabulary_is_counted_and_not_built(behind: str) -> None:
    metadata = {**LLAMA, "tokenizer.ggml.tokens": VOCABULARY, behind: 7}
    data = gguf(metadata)
    tracemalloc.start()
    header = read(data)
    built = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert header.metadata["tokenizer.ggml.tokens"] == SkippedArray(len(VOCABULARY))
    assert header.number(behind) == 7 and len(header.tensors) == len(TENSORS)
    assert built < 3 * gguf_header._CHUNK


def test_a_word_that_looks_like_the_next_key_does_not_deceive() -> None:
    lures = ["tokenizer.ggml.bos_token_id", "general.name", *VOCABULARY, "tokenizer.ggml.merges"]
    words = [lures[number // 3 % len(lures)] for number in range(20_000)]
    for tokens in (words, [*VOCABULARY, *lures]):
        header = read(gguf({**LLAMA, "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.bos_token_id": 7}))
        assert header.number("tokenizer.ggml.bos_token_id") == 7
        assert header.count("tokenizer.ggml.tokens") == len(tokens)
        assert [tensor.name for tensor in header.tensors] == list(TENSORS)


def test_a_key_across_two_chunks_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    metadata = {**LLAMA, "tokenizer.ggml.tokens": VOCABULARY[:1100], "tokenizer.ggml.bos_token_id": 7}
    data = gguf(metadata)
    walked: list[int] = []
    monkeypatch.setattr(gguf_header._Source, "walk_strings", lambda source, count: walked.append(count))
    for chunk in range(4_000, 4_060):
        monkeypatch.setattr(gguf_header, "_CHUNK", chunk)
        source = gguf_header._Source(io.BytesIO(data), len(data), gguf_header.WorkBudget())
        assert gguf_header._read(source, jump=True).number("tokenizer.ggml.bos_token_id") == 7
    assert set(walked) <= {3}


def test_of_a_large_file_only_the_header_is_read(tmp_path: Path) -> None:
    big = {"blk.weight": ((1 << 30,), 1)}
    path = write_gguf(tmp_path / "big.gguf", {**LLAMA, "tokenizer.ggml.tokens": VOCABULARY}, big)
    file = CountedFile(path.open("rb").read(1 << 20))
    header = read_stream(file, path.stat().st_size)
    assert header.parameters == 1 << 30 and header.is_whole
    assert file.asked <= header.data_start + gguf_header._CHUNK


def test_names_that_are_no_utf_8_are_marked() -> None:
    assert read(gguf({**LLAMA, "general.name": "T\udcffiny"})).text("general.name") == "T�iny"


def one_key(value: bytes) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + value


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "ends in the middle"),
        (b"GGML" + bytes(40), "not a GGUF file"),
        (gguf(version=1), "GGUF version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "announces"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "announces"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1 << 62), "a text of"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", 77), "unknown type 77"),
        (one_key(struct.pack("<IIQ", 9, STRING, 1 << 50)), "ends in the middle"),
        (one_key(struct.pack("<IIQ", 9, 4, 1 << 50)), "ends in the middle"),
        (one_key(struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 9), "an array of"),
        (gguf(tensors={"t": ((1 << 40, 1 << 40), 0)}), "impossibly large"),
        (gguf({**LLAMA, "general.alignment": 0}), "alignment"),
        (gguf({**LLAMA, "general.alignment": "x"}), "alignment"),
        (gguf()[:-3], "ends in the middle"),
    ],
)
def test_what_cannot_be_is_one_clear_error(data: bytes, why: str) -> None:
    with pytest.raises(BadHeader, match=why) as caught:
        read(data)
    assert "\n" not in str(caught.value)


def _checked(data: bytes, size: int) -> None:
    """Either a header or BadHeader, and no more memory than the file and a chunk or two."""
    tracemalloc.start()
    try:
        header = read_stream(io.BytesIO(data), size)
        assert header.parameters >= 0 and header.full_size >= 0 and header.number("general.alignment") >= 0
    except BadHeader as error:
        assert str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 60 * len(data) + 4 * gguf_header._CHUNK


fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@fuzz
@given(st.binary(max_size=400), st.integers(0, 1 << 62))
def test_any_bytes(tail: bytes, size: int) -> None:
    for data in (tail, b"GGUF" + tail, b"GGUF" + struct.pack("<IQQ", 3, 3, 9) + tail):
        _checked(data, len(data))
        _checked(data, max(size, len(data)))  # a file that shrinks while it is read


WHOLE = gguf({**LLAMA, "tokenizer.ggml.tokens": VOCABULARY[:1200], "tokenizer.ggml.bos_token_id": 1})


@fuzz
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_good_file_with_bytes_changed(changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, byte in changes:
        data[place] = byte
    _checked(bytes(data), len(data))


@fuzz
@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=16))
def test_a_good_file_cut_or_with_bytes_put_in(place: int, extra: bytes) -> None:
    _checked(WHOLE[:place], place)
    _checked(WHOLE[:place] + extra + WHOLE[place:], len(WHOLE) + len(extra))


NUMBERS = st.sampled_from([0, 1, 255, 1 << 16, (1 << 31) - 1, 1 << 32, 1 << 62, (1 << 64) - 1])


@fuzz
@given(st.integers(24, len(WHOLE) - 8), NUMBERS)
def test_a_good_file_with_one_length_changed(place: int, number: int) -> None:
    _checked(WHOLE[:place] + struct.pack("<Q", number) + WHOLE[place + 8 :], len(WHOLE))


def test_a_file_of_empty_words_is_soon_given_up(tmp_path: Path) -> None:
    """Eight zero bytes are a word: a hole in a file looks like as many words as one likes."""
    path = tmp_path / "hole.gguf"
    words = 3_000_000
    start = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<IIQ", 9, STRING, words)
    with path.open("wb") as file:
        file.write(start)
        file.truncate(len(start) + 8 * words)
    with pytest.raises(BadHeader, match="too long to read"):
        read_header(path)


def test_the_tables_are_those_of_the_library_that_writes_such_files() -> None:
    constants: Any = pytest.importorskip("gguf.constants")
    sizes = {int(kind): (kind.name, *constants.GGML_QUANT_SIZES[kind]) for kind in constants.GGMLQuantizationType}
    assert gguf_types.BLOCKS.items() <= sizes.items()
    names = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in constants.LlamaFileType}
    assert gguf_types.FILE_TYPES.items() <= names.items()


def test_a_file_of_the_library_that_writes_such_files(tmp_path: Path) -> None:
    library: Any = pytest.importorskip("gguf")
    numpy: Any = pytest.importorskip("numpy")
    writer = library.GGUFWriter(tmp_path / "real.gguf", "llama")
    writer.add_context_length(2048)
    writer.add_token_list(VOCABULARY)
    writer.add_chat_template("{{ x }}")
    writer.add_tensor("a.weight", numpy.zeros((3, 32), dtype=numpy.float32))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    header = read_header(tmp_path / "real.gguf")
    assert (header.number("llama.context_length"), header.count("tokenizer.ggml.tokens")) == (2048, len(VOCABULARY))
    assert (header.text("tokenizer.chat_template"), header.parameters, header.is_whole) == ("{{ x }}", 96, True)


def test_values_as_the_specification_writes_them() -> None:
    assert value("ab") == struct.pack("<IQ", 8, 2) + b"ab"
