"""Stop strings: the same text comes out however it is cut, and nothing of a stop string ever shows."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zwaif_fallback.engines.stop_filter import StopFilter

# A tiny alphabet makes overlaps, repeats and half matches common.
texts = st.text(alphabet="ab\n😀", max_size=40)
stop_lists = st.lists(st.text(alphabet="ab\n😀", max_size=5), max_size=4)


def expected(text: str, stops: list[str]) -> str:
    places = [text.find(stop) for stop in stops if stop and stop in text]
    return text[: min(places)] if places else text


@given(text=texts, stops=stop_lists, cuts=st.lists(st.integers(0, 40), max_size=12))
def test_output_does_not_depend_on_the_cuts(text: str, stops: list[str], cuts: list[int]) -> None:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    stop_filter = StopFilter(stops)
    out = ""
    for start, end in pairwise(edges):
        out += stop_filter.feed(text[start:end])
        assert expected(text, stops).startswith(out), "emitted something that belongs to a stop string"
    out += stop_filter.flush()
    assert out == expected(text, stops)
    assert stop_filter.stopped == any(stop and stop in text for stop in stops)


def test_text_that_cannot_become_a_stop_string_is_not_delayed() -> None:
    stop_filter = StopFilter(["\nUser:"])
    assert stop_filter.feed("Hello") == "Hello"
    assert stop_filter.feed("\nUs") == ""
    assert stop_filter.feed("ually") == "\nUsually"


@pytest.mark.parametrize("stops", [[], [""]])
def test_without_stop_strings_everything_passes(stops: list[str]) -> None:
    stop_filter = StopFilter(stops)
    assert stop_filter.feed("a") + stop_filter.feed("b") + stop_filter.flush() == "ab"
    assert not stop_filter.stopped


def test_nothing_passes_after_a_stop_string() -> None:
    stop_filter = StopFilter(["</s>"])
    assert stop_filter.feed("bye</s>ignored") == "bye"
    assert stop_filter.feed("more") == ""
    assert stop_filter.flush() == ""
