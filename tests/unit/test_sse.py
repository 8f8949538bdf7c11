"""Event streams as they really arrive: cut anywhere, with any line end, with things in them that are no text."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zwaif_hooks.messages import FailureKind
from zwaif_hooks.network import sse
from zwaif_hooks.stream import Chunk, PrimaryError


def event(text: Any, reason: str | None = None) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": reason}]}).encode()


def stream(events: list[bytes], end: bytes = b"\n") -> bytes:
    return b"".join(line + end + end for line in events)


def read(*parts: bytes) -> list[Chunk]:
    return list(sse.read_events(parts))


def said(*parts: bytes) -> str:
    return "".join(chunk.text for chunk in read(*parts))


DONE = b"data: [DONE]"
GOOD = [b": hello", b"event: message", event("Hé"), event("llo \U0001f600"), event("\ud83d"), event("\ude00."), DONE]


def failure(*parts: bytes) -> PrimaryError:
    with pytest.raises(PrimaryError) as caught:
        read(*parts)
    return caught.value


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


@given(places=st.lists(st.integers(0, 10_000), max_size=40), end=st.sampled_from([b"\n", b"\r\n", b"\r"]))
@example(places=list(range(10_000)), end=b"\r\n")
def test_where_it_is_cut_and_how_lines_end_makes_no_difference(places: list[int], end: bytes) -> None:
    assert read(*cut(stream(GOOD, end), places)) == read(stream(GOOD))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_the_text_comes_through(end: bytes) -> None:
    assert said(stream(GOOD, end)) == "Hé" + "llo \U0001f600" + "\ud83d" + "\ude00."


def test_a_last_line_without_a_line_end_counts() -> None:
    assert said(event("a") + b"\n\n" + DONE) == "a"


def test_a_space_after_data_is_optional() -> None:
    assert said(event("a").replace(b"data: ", b"data:") + b"\n\ndata:[DONE]\n") == "a"


def test_each_chunk_keeps_the_events_own_bytes() -> None:
    chunk, end = read(stream([event("a"), DONE]))
    assert end == Chunk("", reason="stop")
    assert chunk.native == event("a") + b"\n\n"


@pytest.mark.parametrize(
    "harmful",
    [
        {"choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"choices": [{"delta": {"role": "assistant"}}]},
        {"choices": [{"delta": {"content": None}}]},
        {"choices": [{"delta": {"content": {"text": "x"}}}]},
        {"choices": [{"delta": {"content": True}}]},
        {"choices": [{"delta": {"content": [{"type": "thinking", "thinking": "hm"}]}}]},
        {"choices": [{"delta": None}]},
        {"choices": [{}]},
        {"choices": [None]},
        {"choices": []},
        {"choices": None},
        {"usage": {"total_tokens": 3}},
        [],
        "text",
        None,
        7,
    ],
)
def test_what_z_waif_cannot_take_is_left_out(harmful: Any) -> None:
    line = b"data: " + json.dumps(harmful).encode()
    assert said(stream([line, event("a"), line, event("b"), line, DONE])) == "ab"


def one(delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}).encode()


def choice(**fields: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **fields}]}).encode()


LEGAL: dict[str, tuple[list[bytes], str]] = {
    "an index in quotes": ([b'data: {"choices": [{"index": "0", "delta": {"content": "ab"}}]}'], "ab"),
    "a list of parts": ([one({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})], "ab"),
    "texts, then lists": ([event("a"), one({"content": [{"type": "text", "text": "b"}]})], "ab"),
    "thoughts among the parts": (
        [one({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}), event("a")],
        "a",
    ),
    "a number": ([event("It is "), event(42), event(" degrees.")], "It is 42 degrees."),
    "message in place of delta": ([choice(message={"role": "assistant", "content": "a"}), event("b")], "ab"),
    "text in place of delta": ([choice(text="a"), choice(text="b")], "ab"),
    "data twice": ([b"data: " + event("a"), event("b")], "ab"),
    "no UTF-8": ([event("a"), event("X").replace(b"X", b"b\xe2\x9c\x85\x85c")], "ab\u2705\ufffdc"),
    "text behind the end": ([event("a", "stop"), event("b", "stop")], "ab"),
    "line breaks that are words": (
        [b'data: {"choices": [{"delta": {"content": "a\xc2\x85\xe2\x80\xa8b"}}]}'],
        "a\x85\u2028b",
    ),
}


@pytest.mark.parametrize("form", LEGAL)
def test_every_legal_form_is_read(form: str) -> None:
    events, words = LEGAL[form]
    chunks = read(stream([*events, DONE], b"\n\n"))
    assert "".join(chunk.text for chunk in chunks) == words
    for chunk in chunks:
        if chunk.native:
            assert json.loads(chunk.native[6:].decode())["choices"][0]["delta"]["content"] == chunk.text


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_on_several_lines(end: bytes) -> None:
    def on_lines(text: str) -> bytes:
        written = json.dumps({"choices": [{"delta": {"content": text}}], "n": [1, 2]}, indent=1)
        return end.join(b"data: " + line.encode() for line in written.split("\n")) + end + end

    data = on_lines("a") + on_lines("b") + DONE + end
    for place in range(len(data)):
        chunks = read(data[:place], data[place:])
        assert "".join(chunk.text for chunk in chunks) == "ab"
    assert json.loads(chunks[0].native[6:])["choices"][0]["delta"]["content"] == "a"


def test_events_without_data_in_front() -> None:
    events = stream([event("a")[6:], event("b")[6:], event("", "stop")[6:]])
    assert "".join(chunk.text for chunk in sse.read_reply([events[:7], events[7:]])) == "ab"


def test_a_body_in_utf_16() -> None:
    body = json.dumps(sse.completion("H\u00e9llo.", "m")).encode("utf-16")
    assert "".join(chunk.text for chunk in sse.read_reply(cut(body, [3, 8]))) == "H\u00e9llo."


@pytest.mark.parametrize("content", [[{"type": "text", "text": "42"}], 42])
def test_a_body_whose_text_is_in_parts_or_a_number(content: Any) -> None:
    body = json.dumps({"choices": [{"message": {"content": content}, "finish_reason": "stop"}]}).encode()
    assert [chunk.text for chunk in sse.read_reply([body])] == ["42"]


@pytest.mark.parametrize(
    "last",
    [
        choice(delta={"content": ""}, finish_reason="stop", native_finish_reason="network_error"),
        choice(delta={"content": ""}, finish_reason=None, error={"code": 502, "message": "upstream gone"}),
        choice(delta={}, finish_reason="model_error"),
        b'data: {"error": {"code": 502, "metadata": {"error_type": "provider_unavailable"}}}',
    ],
)
def test_what_is_a_failure_though_it_looks_like_an_end(last: bytes) -> None:
    got = []
    with pytest.raises(PrimaryError):
        for chunk in sse.read_events([stream([event("a"), last, DONE])]):
            got.append(chunk.text)
    assert "".join(got) == "a"


def test_an_error_without_a_message_is_told_by_its_codes() -> None:
    caught = failure(b'data: {"error": {"code": 502, "metadata": {"error_type": "provider_unavailable"}}}\n\n')
    assert caught.cause == "the server reported: an error without a message (502, provider_unavailable)"
    assert "an error without a message" in failure(b'data: {"error": {"more": []}}\n\n').cause


def test_a_finish_reason_is_an_end() -> None:
    assert said(stream([event("a"), event("", "length")])) == "a"


def test_an_end_without_one_is_a_cut() -> None:
    assert failure(stream([event("a")])).kind is FailureKind.CUT


def test_nothing_at_all_is_a_cut() -> None:
    assert failure(b"").kind is FailureKind.CUT


@pytest.mark.parametrize(
    "error",
    [
        {"error": "CUDA out of memory"},
        {"error": {"message": "CUDA out of memory", "code": 500}},
        {"object": "error", "message": "CUDA out of memory"},
    ],
)
def test_an_error_object_is_a_failure_with_its_own_words(error: dict[str, Any]) -> None:
    line = json.dumps(error).encode()
    for bytes_ in (stream([event("a"), b"data: " + line]), line):
        caught = failure(bytes_)
        assert caught.kind is FailureKind.ERROR_BODY
        assert "CUDA out of memory" in caught.cause


def test_a_null_error_is_none() -> None:
    line = b'data: {"error": null, "choices": [{"delta": {"content": "a"}}]}'
    assert said(stream([line, DONE])) == "a"


@pytest.mark.parametrize("body", [b"<html><body>proxy</body></html>", b"Bad gateway", b"\xff\xfe\x00", b'{"cut": '])
def test_a_body_that_is_no_chat_reply(body: bytes) -> None:
    assert failure(body).kind is FailureKind.UNREADABLE


def test_only_damaged_events_are_unreadable() -> None:
    assert failure(b'data: {"choices"\n\n').kind is FailureKind.UNREADABLE


def test_one_damaged_event_among_good_ones_is_skipped() -> None:
    assert said(stream([event("a"), b'data: {"choi', event("b"), DONE])) == "ab"


def test_a_whole_completion_instead_of_a_stream() -> None:
    body = json.dumps(sse.completion("Hello.", "m"), indent=2).encode()
    assert said(body) == "Hello."
    assert [chunk.text for chunk in sse.read_body(body)] == ["Hello."]


@pytest.mark.parametrize("body", [b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}', b"{}"])
def test_a_completion_without_text_is_blank(body: bytes) -> None:
    with pytest.raises(PrimaryError) as caught:
        list(sse.read_body(body))
    assert caught.value.kind is FailureKind.EMPTY


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b"7", b"<html>", b"\xff"])
def test_a_body_that_is_no_object(body: bytes) -> None:
    with pytest.raises(PrimaryError) as caught:
        list(sse.read_body(body))
    assert caught.value.kind is FailureKind.UNREADABLE


def test_a_deeply_nested_body_is_unreadable_and_no_crash() -> None:
    with pytest.raises(PrimaryError) as caught:
        list(sse.read_body(b"[" * 100_000))
    assert caught.value.kind is FailureKind.UNREADABLE


@given(st.binary(max_size=400))
def test_any_bytes_are_a_reply_or_a_failure_of_the_primary(data: bytes) -> None:
    try:
        read(data)
    except PrimaryError as error:
        assert error.cause


@given(st.text(max_size=60))
def test_what_we_write_we_can_read(text: str) -> None:
    assert said(sse.event_bytes(text, "m") + DONE) == text
    assert sse.message_of(json.loads(json.dumps(sse.completion(text, "m")))) == text


@pytest.mark.parametrize(
    "line",
    [
        b'event: error\ndata: {"message": "out of memory", "code": 500}',
        b'event: error\ndata: {"error": {"message": "out of memory"}}',
        b'event:error\ndata: {"detail": "out of memory"}',
        b"event: error\ndata: out of memory",
        b'error: {"code": 500, "message": "out of memory", "type": "server_error"}',
    ],
)
def test_an_error_that_is_only_named_so_is_no_end(line: bytes) -> None:
    caught = failure(stream([event("a"), line, DONE]))
    assert caught.kind is FailureKind.ERROR_BODY
    assert caught.cause == "the server reported: out of memory"


def test_an_event_of_another_name_is_text() -> None:
    assert said(stream([b"event: message", event("a"), b"event: error", b"event: message", event("b"), DONE])) == "ab"


def test_a_byte_order_mark_costs_no_text() -> None:
    data = b"\xef\xbb\xbf" + stream([event("a"), event("b"), DONE])
    for place in range(len(data)):
        assert "".join(chunk.text for chunk in sse.read_reply([data[:place], data[place:]])) == "ab"


BODY = {"choices": [{"message": {"content": "Good reply."}, "finish_reason": "stop"}], "more": ["x" * 50] * 200}


@pytest.mark.parametrize("indent", [None, 1])
def test_a_body_is_known_by_its_brace(indent: int | None) -> None:
    data = b"\n" + json.dumps(BODY, indent=indent).encode()
    assert "".join(chunk.text for chunk in sse.read_reply(cut(data, [3, 50, 5000]))) == "Good reply."


def two(first: str, second: str, swapped: bool = False) -> bytes:
    choices = [{"index": 0, "delta": {"content": first}}, {"index": 1, "delta": {"content": second}}]
    return b"data: " + json.dumps({"choices": choices[::-1] if swapped else choices}).encode()


def test_of_two_replies_side_by_side_one_is_read() -> None:
    other = b'data: {"choices": [{"index": 1, "delta": {"content": "OTHER"}}]}'
    assert said(stream([two("a", "x"), other, two("b", "x", swapped=True), DONE])) == "ab"
    chunks = read(stream([two("a", "x"), two("b", "x", swapped=True), DONE]))
    assert [chunk.native is not None for chunk in chunks[:2]] == [True, False], "Z-Waif reads what stands first"


def test_the_end_of_another_reply_is_no_end() -> None:
    other = b'data: {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}'
    assert failure(stream([event("a"), other])).kind is FailureKind.CUT


@pytest.mark.parametrize("reason", ["error", "abort", "Cancelled"])
def test_a_reply_that_the_server_broke_off_is_no_reply(reason: str) -> None:
    got = []
    with pytest.raises(PrimaryError, match=reason) as caught:
        for chunk in sse.read_events([stream([event("a"), event("b", reason), DONE])]):
            got.append(chunk)
    assert caught.value.kind is FailureKind.CUT
    assert [(chunk.text, chunk.reason) for chunk in got] == [("a", ""), ("b", "")]


def test_a_body_that_the_server_broke_off_is_a_beginning() -> None:
    body = json.dumps({"choices": [{"message": {"content": "I was"}, "finish_reason": "error"}]}).encode()
    reading = sse.read_body(body)
    assert next(reading) == Chunk("I was")
    with pytest.raises(PrimaryError, match="broke the reply off"):
        next(reading)


@pytest.mark.parametrize("none", ["null", "None", ""])
def test_a_reason_that_is_none_is_no_end(none: str) -> None:
    assert failure(stream([event("a", none), event("b", none)])).kind is FailureKind.CUT


@pytest.mark.parametrize("page", [b"<html><h1>502 Bad Gateway</h1></html>", b"Internal Server Error", b"Traceback:"])
def test_what_a_proxy_closed_behind_its_own_page_is_no_reply(page: bytes) -> None:
    caught = failure(stream([event("a"), page, DONE]))
    assert caught.kind is FailureKind.UNREADABLE
    assert page.decode() in caught.cause
    assert said(stream([event("a"), page, event("", "stop"), DONE])) == "a", "it says itself that it finished"


def test_an_error_without_the_form_of_an_event_is_an_error() -> None:
    caught = failure(stream([event("a"), b'{"error": {"message": "out of memory"}}', DONE]))
    assert (caught.kind, caught.cause) == (FailureKind.ERROR_BODY, "the server reported: out of memory")


def test_nothing_that_never_ends_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MOST_AT_ONCE", 1 << 20)
    taken = 0

    def endless(beginning: bytes) -> Any:
        nonlocal taken
        taken = 0
        yield beginning
        while True:
            taken += 1000
            yield b"x" * 1000

    for beginning in (b'{"a": "', b'data: {"a": "'):
        with pytest.raises(PrimaryError) as caught:
            list(sse.read_reply(endless(beginning)))
        assert caught.value.kind is FailureKind.UNREADABLE
        assert taken <= (1 << 20) + 1000


def test_a_long_line_in_many_pieces_costs_no_more_than_its_length() -> None:
    """Each piece is touched once: a quadratic reader would move twenty gigabytes here."""
    line = stream([event("x" * 8_000_000), DONE])
    parts = (line[at : at + 1500] for at in range(0, len(line), 1500))
    assert len("".join(chunk.text for chunk in sse.read_reply(parts))) == 8_000_000
    spaces = itertools.chain(itertools.repeat(b" " * 1000, 20_000), [stream([event("a"), DONE])])
    assert "".join(chunk.text for chunk in sse.read_reply(spaces)) == "a"
