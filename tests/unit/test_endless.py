"""A reply without end is ended behind a sentence, and a long one that has an end is not."""

from __future__ import annotations

import pytest

from zwaif_hooks.reply.endless import (
    LEAST_CHARS,
    MORE_CHARS,
    MOST_CHARS_PER_TOKEN,
    UNKNOWN_CHARS,
    length_limit,
    should_end,
)


def test_the_limit_is_generous_with_what_was_asked_for() -> None:
    assert length_limit(450) == 450 * MOST_CHARS_PER_TOKEN
    assert length_limit(5) == LEAST_CHARS
    assert length_limit(0) == length_limit(-1) == UNKNOWN_CHARS


@pytest.mark.parametrize("piece", ["done.", "really?! ", '"stop." ', "line\n", "了。", "*waves.*"])
def test_it_ends_behind_a_sentence(piece: str) -> None:
    assert should_end(1000, piece, 1000)
    assert not should_end(999, piece, 1000)


@pytest.mark.parametrize("piece", ["word", "word, ", "", "  "])
def test_without_one_it_ends_a_little_later(piece: str) -> None:
    assert not should_end(1000 + MORE_CHARS - 1, piece, 1000)
    assert should_end(1000 + MORE_CHARS, piece, 1000)
