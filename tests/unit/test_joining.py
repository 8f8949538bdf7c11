"""The seam between two speakers: no character lost, none said twice."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from zwaif_hooks.joining import MAX_OVERLAP, MIN_OVERLAP, Joiner, SurrogateGate, longest_overlap

TEXT = st.text(alphabet=st.sampled_from("abc .!\n?é\U0001f600"), max_size=40)


def cut(text: str, places: list[int]) -> list[str]:
    marks = sorted({min(place, len(text)) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in itertools.pairwise(marks)]


def joined(delivered: str, pieces: list[str], exact: bool) -> str:
    joiner = Joiner(delivered, exact=exact)
    said = "".join(joiner.feed(piece) for piece in pieces)
    return said + joiner.finish()


PLACES = st.lists(st.integers(0, 60), max_size=12)


@given(delivered=TEXT, rest=TEXT, places=PLACES)
@example(delivered="The th", rest="e end.", places=[1, 2])
@example(delivered="no no no ", rest="no.", places=[])
def test_an_exact_continuation_arrives_character_by_character(delivered: str, rest: str, places: list[int]) -> None:
    if rest.lstrip().startswith(delivered.lstrip()):
        return  # cannot be told from an echo
    assert joined(delivered, cut(rest, places), exact=True) == rest


@given(delivered=TEXT.filter(str.strip), rest=TEXT, places=PLACES, exact=st.booleans())
def test_a_full_echo_is_taken_out(delivered: str, rest: str, places: list[int], exact: bool) -> None:
    assert joined(delivered, cut(delivered + rest, places), exact) == rest


@given(delivered=TEXT, rest=TEXT, places=PLACES, exact=st.booleans())
def test_how_it_was_cut_makes_no_difference(delivered: str, rest: str, places: list[int], exact: bool) -> None:
    assert joined(delivered, cut(rest, places), exact) == joined(delivered, [rest] if rest else [], exact)


@given(rest=TEXT, places=PLACES, exact=st.booleans())
def test_with_nothing_delivered_everything_passes_at_once(rest: str, places: list[int], exact: bool) -> None:
    joiner = Joiner("", exact=exact)
    assert [joiner.feed(piece) for piece in cut(rest, places)] == cut(rest, places)
    assert joiner.finish() == ""


@given(delivered=TEXT, rest=TEXT, places=PLACES)
def test_a_guessed_seam_only_ever_leaves_out_a_beginning_that_was_said(
    delivered: str, rest: str, places: list[int]
) -> None:
    said = joined(delivered, cut(rest, places), exact=False)
    left_out = len(rest.lstrip()) - len(said.lstrip())
    assert rest.lstrip().endswith(said.lstrip())
    beginning = rest.lstrip()[:left_out].strip()
    assert beginning in delivered


@pytest.mark.parametrize(
    ("delivered", "rest", "whole"),
    [
        ("Once upon a time", " there was a cat.", "Once upon a time there was a cat."),
        ("Once upon a time", "Once upon a time there was a cat.", "Once upon a time there was a cat."),
        ("Once upon a time", "upon a time there was a cat.", "Once upon a time there was a cat."),
        ("I am fine.", "And you?", "I am fine. And you?"),
        ("I am fine. ", " And you?", "I am fine. And you?"),
        ("unbel", "ievable", "unbelievable"),
        ("She said: ", '"Hm."', 'She said: "Hm."'),
    ],
)
def test_a_guessed_seam_reads_well(delivered: str, rest: str, whole: str) -> None:
    assert delivered + joined(delivered, [rest], exact=False) == whole


def test_the_beginning_is_held_back_only_until_it_differs() -> None:
    joiner = Joiner("Hello there", exact=True)
    assert joiner.feed("Hel") == ""
    assert joiner.feed("p is") == "Help is"
    assert joiner.feed(" on") == " on"


@given(a=st.text(max_size=300), b=st.text(max_size=300))
def test_an_overlap_is_an_end_and_a_beginning(a: str, b: str) -> None:
    size = longest_overlap(a, b)
    assert size == 0 or MIN_OVERLAP <= size <= MAX_OVERLAP
    assert a.endswith(b[:size]) or size == 0


# --- surrogates ------------------------------------------------------------------------------------------------------


def halves(text: str) -> str:
    """As a server writes it that escapes UTF-16: each character above U+FFFF as two surrogates."""
    units = text.encode("utf-16-le", "surrogatepass")
    return "".join(chr(int.from_bytes(units[i : i + 2], "little")) for i in range(0, len(units), 2))


@given(text=st.text(alphabet=st.sampled_from("ab \U0001f600\U0001f9d1\u200d\U0001f680é"), max_size=20), places=PLACES)
def test_characters_cut_in_two_are_whole_again(text: str, places: list[int]) -> None:
    gate = SurrogateGate()
    out = [gate.feed(piece) for piece in cut(halves(text), places)]
    assert "".join(out) == text
    for piece in out:
        piece.encode("utf-8")


@pytest.mark.parametrize(
    "pieces", [["\ud83d"], ["\ude00"], ["a\ude00b"], ["\ud83d", "b"], ["\ud83d", "", "\ud83d", "x"]]
)
def test_a_half_that_never_meets_its_other_half_is_left_out(pieces: list[str]) -> None:
    gate = SurrogateGate()
    text = "".join(gate.feed(piece) for piece in pieces)
    text.encode("utf-8")
    assert json.loads(json.dumps(text)) == text
    assert text == "".join(c for c in "".join(pieces) if not "\ud800" <= c <= "\udfff")
