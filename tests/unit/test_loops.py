from __future__ import annotations

import pytest

from zwaif_fallback.reply_quality.loops import as_words, first_turn, is_said_again


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("I am very very very very ", "I am very "),
        ("It was so, so, so, so, so, so, so, so, so, so, ", "It was so, "),
        ("I like to eat and drink, like to eat and drink, like to eat and drink,", "I like to eat and drink,"),
        ("She said that she would never go there again, she would never go there again,", None),
        ("we walk along the river in the dark, we walk along the river in the dark, ",
         "we walk along the river in the dark, "),
        ("私は犬が好きです、私は犬が好きです、私は犬が好きです、私は犬が好きです、", "私は犬が好きです、"),
    ],
)  # fmt: skip
def test_a_loop_is_cut_behind_its_first_turn(text: str, kept: str | None) -> None:
    found = first_turn(text)
    assert found == kept or (kept is None and found is not None and len(found) < len(text))


@pytest.mark.parametrize(
    "text",
    ["", "a", "No no no! ", "Ha ha ha ha! ", "hahahahaha", "Bye bye! ", "on and on and on ",
     "so good, so sweet, so warm, ",
     "Row, row, row your boat, ", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ", "哈哈哈哈哈哈", "ずっとずっと、", "Sooooooooo",
     "Well............. ", "----------------------------", "I love you. I love you. "],
)  # fmt: skip
def test_what_people_repeat_is_no_loop(text: str) -> None:
    assert first_turn(text) is None


@pytest.mark.parametrize(
    ("sentence", "said", "again"),
    [
        ("I'm a special-eye-dog.", ["I'm a special-eye-dog."], True),
        ("I'm a SPECIAL eye dog!", ["Hello!", "I'm a special-eye-dog.", "Nice."], True),
        ("No!", ["No!", "No!"], False),
        ("No!", ["No!", "No!", "No!"], True),
        ("I see.", ["I see.", "It rains."], False),
        ("...", ["..."], False),
    ],
)
def test_a_sentence_said_again(sentence: str, said: list[str], again: bool) -> None:
    assert is_said_again(sentence, [as_words(one) for one in said]) is again
