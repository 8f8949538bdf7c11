"""What of a card the newest words ask about, and the line behind them."""

from __future__ import annotations

import pytest

from zwaif_fallback.languages import LANGUAGES, language_of
from zwaif_fallback.prompt import conversation_parts, fit_to_window
from zwaif_fallback.prompt.card_lookup import answering, answers_to, asked_about, is_question
from zwaif_fallback.prompt.length_hint import closing_line
from zwaif_hooks.messages import ChatRequest, Message, ModelInfo, Persona, Purpose

CARD = (
    "Rhea is a clockmaker in Prague. She is 41 and lives above her shop. Her sister Dora breeds pigeons. "
    "She has a limp and walks with a cane. Rhea loves plum cake. She is afraid of deep water. She grew up in Brno."
)
LISTED = '[Character("Ivo")\n{\nSpecies("Faun")\nAge("Ninety years")\nPet("A hare named Flick")\nDislikes("Bells")\n}]'
TALKED = (
    "{{user}}: Are you married?\n{{char}}: *blushes* To Ruth, these ten years.\n"
    "{{user}}: What can you cook?\n{{char}}: Nothing but eggs."
)


@pytest.mark.parametrize(
    "card, words, told",
    [
        (CARD, "What does your sister do?", "pigeons"),
        (CARD, "How old are you?", "She is 41"),
        (CARD, "Which cakes do you like?", "plum cake"),
        (CARD, "Is there anything you fear?", "deep water"),
        (CARD, "Where did you grow up?", "Brno"),
        (CARD, "What do you do for work?", "clockmaker"),
        (CARD, "What is your name?", "Rhea is"),
        (LISTED, "What is your species?", "Faun"),
        (LISTED, "Do you have a pet?", "Flick"),
        (LISTED, "What do you hate?", "Bells"),
        (TALKED, "Who is your wife?", "To Ruth"),
        ("Rhea likes tea. Rhea does not like bells.", "What do you hate?", "bells"),
        (TALKED, "Do you cook?", "eggs"),
        ("Ida ist Köchin. Ihr Hund heißt Bello. Sie hat Angst vor Gewitter.", "Wovor hast du Angst?", "Gewitter"),
        ("Ida es cocinera. Su perro se llama Bello. Colecciona sellos.", "¿Qué coleccionas?", "sellos"),
    ],
)
def test_what_is_asked_about(card: str, words: str, told: str) -> None:
    found = asked_about(card, words)
    assert told in " ".join(found) and len(found) <= 2


@pytest.mark.parametrize("words", ["", "Hm.", "Good morning!", "Tell me a story."])
def test_nothing_is_told_where_nothing_is_asked(words: str) -> None:
    assert asked_about(CARD, words) == []


def test_a_question_about_nothing_in_the_card_gets_who_she_is() -> None:
    assert asked_about(CARD, "Who are you?") == ["Rhea is a clockmaker in Prague."]
    assert asked_about("", "Who are you?") == []


def test_a_long_section_is_no_reminder() -> None:
    assert asked_about("The harbour " + "word " * 60 + ". He is a diver.", "What about the harbour?") == [
        "He is a diver."
    ]


@pytest.mark.parametrize(
    "text, language",
    [
        ("What is your name?", "en"),
        ("Wie heißt du denn?", "de"),
        ("¿Cómo te llamas tú?", "es"),
        ("Comment tu t'appelles ?", "fr"),
        ("Ciao, come stai oggi?", "it"),
        ("Oi, como você está?", "pt"),
        ("Hoi, hoe heet je?", "nl"),
        ("Cześć, jak się masz?", "pl"),
        ("Как тебя зовут?", "ru"),
        ("お名前は何ですか", "ja"),
        ("你叫什么名字", "zh"),
        ("이름이 뭐야", "ko"),
        ("Ok!", ""),
        ("", ""),
    ],
)
def test_languages(text: str, language: str) -> None:
    assert language_of(text) == language


def test_every_language_asks_for_five_lengths() -> None:
    for name, language in LANGUAGES.items():
        lines = {closing_line([sample], words) for sample in [_sample(name)] for words in (5, 12, 20, 40, 90)}
        assert len(lines) == 5 and all(language.ask.format("") != line for line in lines), name


def _sample(name: str) -> str:
    language = LANGUAGES[name]
    return " ".join(sorted(language.common)) if language.common else language.letters[0]


def test_the_line_follows_the_user_and_her_usual_length() -> None:
    assert (
        closing_line(["Wie geht es dir?", "She is a fox and you are her friend."], 12)
        == "Antworte in einem kurzen Satz."
    )
    assert closing_line(["Ok!", "And what is the matter with you?"], 100) == "Answer in a few sentences."
    assert closing_line(["Ok!", "Hm."], 10) == ""


def fitted(request: ChatRequest) -> list[Message]:
    model = ModelInfo("m", "tinyllama", 2048)
    return fit_to_window.fit(request, model, lambda texts: [len(text) // 4 for text in texts]).messages


def test_the_newest_turn_holds_the_fact_the_words_and_the_length() -> None:
    talk = (Message("user", "Hi, how are you?"), Message("assistant", "Ticking. And you, Sam?"))
    persona = Persona("Rhea", "Sam", CARD)
    asked = (*talk, Message("user", "What are you afraid of?"))
    by_ooba = ChatRequest("oobabooga", asked, persona=persona, persona_in_messages=False)
    by_ollama = ChatRequest("ollama", (Message("system", CARD), *asked), persona=persona)
    told = "What are you afraid of? (She is afraid of deep water.) Answer in a few words."
    for request in (by_ooba, by_ollama):
        system, *earlier, newest = fitted(request)
        assert newest.content == told
        assert tuple(earlier) == talk, "what was said before stays as it was said, so that it is read once"
        assert system.content == f"{CARD}\n\nYou are Rhea. You are talking with Sam. {conversation_parts._BEHAVE}"


def test_a_card_in_w_plus_plus_and_a_dialogue_are_told_in_sentences() -> None:
    for card, words, told in ((LISTED, "Do you have a pet?", "Ivo's pet"), (TALKED, "Who is your wife?", "(To Ruth")):
        asked = (Message("system", card), Message("user", words))
        assert told in fitted(ChatRequest("ollama", asked, persona=Persona("Ivo", "Sam")))[-1].content


def test_summaries_and_a_second_server_are_asked_as_before() -> None:
    asked = (Message("system", CARD), Message("user", "What are you afraid of?"))
    request = ChatRequest("ollama", asked, persona=Persona("Rhea", "Sam", CARD))
    assert fit_to_window.unfitted(request) == list(asked)
    assert fitted(ChatRequest("ollama", asked, purpose=Purpose.SUMMARY)) == list(asked)


def test_a_chat_without_a_character_is_left_alone() -> None:
    (newest,) = fitted(ChatRequest("oobabooga", (Message("user", "What is the time?"),)))
    assert newest.content == "What is the time?"


def test_a_trait_in_w_plus_plus_is_told_in_words() -> None:
    assert asked_about('Eyes("Amber" + "Very large")\nHair("Red")', "What eyes do you have?") == [
        "Eyes: Amber, Very large."
    ]


def test_the_words_that_answer() -> None:
    told = ["Her sister Dora breeds pigeons."]
    assert answering(told, "What does your sister do?") == ("Dora", "breeds", "pigeons")
    assert answering([], "What?") == ()
    assert answering(["Rhea has amber eyes."], "Which eyes?", "Rhea Sam") == ("amber",), "a name is no answer"


@pytest.mark.parametrize(
    "words, favoured", [("What does your sister do?", True), ("Your sister breeds pigeons.", False)]
)
def test_only_an_answer_is_favoured(words: str, favoured: bool) -> None:
    request = ChatRequest("ollama", (Message("system", CARD), Message("user", words)))
    fitted = fit_to_window.fit(request, ModelInfo("m", "tinyllama", 2048), lambda texts: [len(t) // 4 for t in texts])
    assert bool(fitted.favoured) is favoured


@pytest.mark.parametrize(
    ("words", "answers"),
    [
        ("What does your sister do?", True),
        ("tell me, who is your sister", True),
        ("Do you have a sister?", False),
        ("And?", False),
        ("What is the capital of France?", False),
    ],
)
def test_an_answer_is_known_where_the_card_has_it_and_a_yes_is_none(words: str, answers: bool) -> None:
    assert bool(answers_to("Her sister Dora breeds pigeons.", words)) is answers


@pytest.mark.parametrize(
    "words",
    ["I was at the sister school today.", "Je crois que ta sœur est là.", "Ich war da, wo deine Schwester wohnt."],
)
def test_a_statement_asks_for_nothing(words: str) -> None:
    assert answers_to("Her sister Dora is at school. Ihre Schwester wohnt da. Sa sœur est là.", words) == ()


@pytest.mark.parametrize(
    ("words", "question"),
    [
        ("Who is it?", True),
        ("誰ですか？", True),
        ("how old r u", True),
        ("so where are you from", True),
        ("do you have any pets", True),
        ("hast du ein haustier", True),
        ("whatever you say", False),
        ("I know who you are.", False),
        ("when I was small, we had a dog.", True),
        ("was machst du heute so", True),
        ("Was so tired yesterday, you know.", False),
        ("où habites-tu", True),
        ("czy masz psa", True),
    ],
)
def test_a_question_without_its_mark(words: str, question: bool) -> None:
    assert is_question(words) is question
