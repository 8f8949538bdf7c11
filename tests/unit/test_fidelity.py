"""The benchmark's judge, whose verdicts go into a table that nobody recounts."""

from __future__ import annotations

import re

import pytest

from benchmarks.fidelity.asking import request
from benchmarks.fidelity.cards import CARDS, LOTTE, NOVA
from benchmarks.fidelity.judging import ends_well, is_another, judged, language, loops


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_every_question_is_answered_by_the_card_and_not_by_her_earlier_turns(card) -> None:
    assert len(card.questions) == 12
    talk = " ".join(text for pair in card.talk for text in pair)
    for question, pattern in card.questions[1:]:
        if question not in ("Can you swim?", "What are you?", "What do you run?"):
            assert re.search(pattern, card.text, re.IGNORECASE), question
        assert not re.search(pattern, question, re.IGNORECASE), question
    assert not any(re.search(pattern, talk, re.IGNORECASE) for _, pattern in card.questions[3:6]), card.name


@pytest.mark.parametrize(
    "reply, wrong",
    [
        ("My name is Nova.", False),
        ("I'm Nova, the engineer of the Marigold.", False),
        ("I'm afraid of spiders.", False),
        ("My name is Bella.", True),
        ("I'm Ben.", True),
        ("Call me Milo!", True),
        ("As an AI language model, I have no name.", True),
        ("Sure.\nBen: And you?", True),
        ("Fine.\nUser: And you?", True),
    ],
)
def test_another_name(reply: str, wrong: bool) -> None:
    assert is_another(NOVA, reply) is wrong


@pytest.mark.parametrize(
    "reply, is_one",
    [
        ("I like tea. I like coffee. I like bread.", False),
        ("No. No. No!", False),
        ("I love the sea so much. I love the sea so much.", True),
        ("a-special-eye-dog-eye-dog-special-eye-dog-eye-dog-special-eye-dog-eye-dog", True),
    ],
)
def test_loops(reply: str, is_one: bool) -> None:
    assert loops(reply) is is_one


@pytest.mark.parametrize(
    "reply, well",
    [
        ("Yes.", True),
        ('"Good morning!"', True),
        ("Hello! *waves*", True),
        ("Hee hee \U0001f60a", True),
        ("I went to the", False),
        ("*waves and", False),
        ("", False),
    ],
)
def test_ends(reply: str, well: bool) -> None:
    assert ends_well(reply) is well


def test_languages() -> None:
    assert language("Ich bin die Gärtnerin und das ist mein Garten.") == "de"
    assert language("Yo soy la bruja de la torre y el mar.") == "es"
    assert language("I am the engineer of the ship.") == "en"
    assert language("Blub!") == ""
    assert not judged(LOTTE, "x", "I am the gardener of the town.").speaks_language


def test_with_oobabooga_the_character_is_not_in_the_messages() -> None:
    asked = request(NOVA, "Hello?", 0, "oobabooga")
    assert not asked.persona_in_messages and NOVA.text not in asked.messages[0].content
    asked = request(NOVA, "Hello?", 0, "ollama")
    assert asked.persona_in_messages and asked.messages[0].content.startswith(NOVA.text)
