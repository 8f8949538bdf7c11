"""Cards as people write them, all made up here."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zwaif_fallback.prompt.cards import fill_in_names, rewrite, shorten


def mia(card: str) -> str:
    return rewrite(card, "Mia", "Tom")


@pytest.mark.parametrize(
    "card",
    ["{{char}} likes {{user}}.", "{{Char}} likes {{ user }}.", "<char> likes <USER>.", "<BOT> likes <user>.",
     "{{ CHAR }} likes {{User}}.", "{{character}} likes {{user}}.{{// a note }}",
     "{{char}} likes {{user}}.<!-- todo -->"],
)  # fmt: skip
def test_names_are_filled_in_however_they_are_marked(card: str) -> None:
    assert mia(card) == "Mia likes Tom."


def test_a_name_nobody_knows_stays_a_placeholder() -> None:
    assert fill_in_names("{{char}} and {{user}}", "", "Tom") == "{{char}} and Tom"
    assert fill_in_names(r"{{user}}", "", r"\1 Tom\g<0>") == r"\1 Tom\g<0>"


@pytest.mark.parametrize(
    "card",
    [
        '[Character("Mia")\n{\nAge("24")\nHair("red" + "curly")\nLikes("tea" + "rain" + "cats")\n'
        'Personality("shy" + "kind")\nOccupation("baker")\nFavorite food("jam")\n}]',
        '[character("Mia"){Age("24") Hair("red" + "curly") Likes("tea" + "rain" + "cats") Personality("shy" + "kind") '
        'Occupation("baker") Favorite food("jam")}]',
        "Name: Mia\nAge: 24\nHair: red and curly\nLikes: tea, rain and cats\nPersonality: shy and kind\n"
        "Occupation: baker\nFavorite food: jam",
        "* **Age:** 24\n* **Hair:** red and curly\n* **Likes:** tea, rain and cats\n* **Personality:** shy and kind\n"
        "* **Occupation:** baker.\n* **Favorite food:** jam",
    ],
)  # fmt: skip
def test_lists_become_sentences(card: str) -> None:
    assert mia(card).split("\n") == [
        "Mia is 24 years old.",
        "Mia has red and curly hair.",
        "Mia likes tea, rain and cats.",
        "Mia is shy and kind.",
        "Mia's occupation is baker.",
        "Mia's favorite food is jam.",
    ]


@pytest.mark.parametrize(
    "card",
    [
        "Mia is a fox. She likes tea; and rain.\n\nNote: she is shy.",
        "## Home\nShe lives by the sea (far away).",
        "Mia ist Bäckerin. Sie wohnt in Köln.",
        "ミアは猫です。お茶が好きです。",
        "Миа любит чай.",
        "",
        "A plus (B) and C + D",
    ],
)
def test_prose_stays_as_it_is(card: str) -> None:
    assert mia(card) == card


def test_keys_of_other_languages_stay_keys() -> None:
    card = "Alter: 24\nHaare: rot\nMag: Tee und Regen\nBeruf: Bäckerin"
    assert mia(card) == "Alter: 24.\nHaare: rot.\nMag: Tee und Regen.\nBeruf: Bäckerin."


DIALOGUE = "Tom: Hi!\nMia: *smiles* Hello.{}Tom: Tea?\nMia: Oh yes.\nAlways!"


@pytest.mark.parametrize(
    "card",
    [
        "Mia is a fox.\n<START>\n{{user}}: Hi!\n{{char}}: *smiles* Hello.\n<START>\n{{user}}: Tea?\n"
        "{{char}}: Oh yes.\nAlways!",
        "Mia is a fox.\n\nExample dialogue:\nTom: Hi!\nMia: *smiles* Hello.\n\nTom: Tea?\nMia: Oh yes.\nAlways!",
        "Mia is a fox.\n{{user}}: Hi!\n{{char}}:*smiles* Hello.\nYou: Tea?\n**{{char}}:** Oh yes.\nAlways!",
        "Mia is a fox.\n### Example Messages\n<start>\n**Tom**: Hi!\n**Mia**: *smiles* Hello.\n{{user}}: Tea?\n"
        "{{char}}: Oh yes.\nAlways!",
    ],
)  # fmt: skip
def test_dialogues_are_told_with_names(card: str) -> None:
    text = mia(card)
    assert text.startswith("Mia is a fox.\n") and "\n\n\n" not in text
    assert text.removeprefix("Mia is a fox.").strip() in (DIALOGUE.format("\n"), DIALOGUE.format("\n\n"))


def test_a_greeting_and_what_follows_a_dialogue() -> None:
    assert mia("<START>\n{{char}}: Welcome!\n\nThey are in the kitchen.") == "Mia: Welcome!\n\nThey are in the kitchen."


def test_you_is_the_user_in_a_dialogue_only() -> None:
    assert mia("You: stay kind.\nBe brief.") == "You: stay kind.\nBe brief."


def test_json_pasted_into_the_card() -> None:
    data = {
        "name": "Mia",
        "description": "{{char}} is a fox.",
        "personality": "shy",
        "mes_example": "<START>\n{{user}}: Tea?",
    }
    for card in (data, {"spec": "chara_card_v2", "spec_version": "2.0", "data": data}):
        assert mia(json.dumps(card) + "\n\nBe kind.").startswith("Mia is a fox.\n\nPersonality: shy")
        assert mia(json.dumps(card) + "\n\nBe kind.").endswith("Be kind.")
    assert mia('{"no": "card"}') == '{"no": "card"}'


def test_cards_of_strangers_take_no_time() -> None:
    hostile = ["[" * 60_000, '{"a":' * 40_000, "Key: " * 30_000, 'A("' * 30_000, "{{" * 50_000, "* " * 50_000,
               "a: b\n" * 30_000, "<!--" * 30_000, '("a" + ' * 20_000, "<START>\n" * 20_000,
               "{{user}}: a\n" * 10_000]  # fmt: skip
    for card in hostile:
        began = time.process_time()
        rewrite(card, "Mia", "Tom")
        assert time.process_time() - began < 1, card[:20]


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('{}[]()"+:*<>\nMiaTom sSTART#'), max_size=200))
def test_any_card_is_told_without_an_error_and_the_same_each_time(card: str) -> None:
    first = rewrite(card, "Mia", "Tom")
    rewrite.cache_clear()
    assert rewrite(card, "Mia", "Tom") == first
    assert rewrite(first, "Mia", "Tom").count("{{char}}") == 0


LONG = (
    "Mia Fox is a baker of 24 years. She has red hair and green eyes. "
    + "The morning light fell through the old windows as it had always done, slowly and without a sound, over flour "
    "and tins and the big blue bowl that nobody had ever dared to move from the shelf above the stove. "
    * 12
    + "She likes tea and hates raisins. Her sister is called Ann.\n\nYou are Mia. You are talking with Tom."
)


@pytest.mark.parametrize("most", [60, 40])
def test_a_long_card_loses_its_prose_before_its_facts(most: int) -> None:
    kept = shorten(LONG, lambda text: len(text.split()) <= most)
    for fact in ("24 years", "red hair", "likes tea", "called Ann", "You are Mia. You are talking with Tom."):
        assert fact in kept
    assert kept.index("24 years") < kept.index("likes tea") < kept.index("You are Mia.")


def test_a_card_that_fits_stays_and_one_that_cannot_is_nothing() -> None:
    assert shorten(LONG, lambda text: True) == LONG
    assert shorten(LONG, lambda text: not text) == ""
    assert shorten(LONG, lambda text: len(text.split()) <= 5) == "You are Mia."
