from __future__ import annotations

import pytest

from zwaif_fallback.reply_quality import identity

CARD = "Mia Fox is a Norwegian forest cat, nicknamed Mimi. Her sister is called Bella."
HERS = identity.names_of("Mia Fox", CARD)


def name_in(text: str, user: str = "Tom") -> str:
    found = identity.wrong_name(text, HERS, user, CARD)
    return "" if found is None else next(filter(None, found.groupdict().values()))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("My name is Bella.", "Bella"),
        ("Hi! I'm Bella, nice to meet you.", "Bella"),
        ("Well, I am *Bella*.", "Bella"),
        ("You can call me Al.", "Al"),
        ("I'm SmolLM, trained by Hugging Face.", "SmolLM"),
        ("I'm called Luna.", "Luna"),
        ("I was named Luna.", "Luna"),
        ("It's me, Lily!", "Lily"),
        ("I'm Tom.", "Tom"),
        ("Ich bin Tom, und wer bist du?", "Tom"),
        ("Ich heiße Anna.", "Anna"),
        ("Mein Name ist Anna.", "Anna"),
        ("Je m'appelle Claire.", "Claire"),
        ("Je suis Claire.", "Claire"),
        ("Me llamo Lucía.", "Lucía"),
        ("Hola, soy Lucía.", "Lucía"),
        ("Mi chiamo Giulia.", "Giulia"),
        ("Meu nome é Ana.", "Ana"),
        ("Ik heet Sanne.", "Sanne"),
        ("Mam na imię Ola.", "Ola"),
        ("Меня зовут Аня.", "Аня"),
        ("私の名前はさくらです。", "さくら"),
        ("我叫小红。", "小红"),
        ("제 이름은 민지예요.", "민지"),
        ("ฉันชื่อมะลิ", "มะลิ"),
    ],
)
def test_another_name(text: str, name: str) -> None:
    assert name_in(text) == name


@pytest.mark.parametrize(
    "text",
    ["My name is Mia.", "I'm Mia Fox!", "Call me Mimi.", "I'm tired.", "I am happy, Tom.", "Call me later.", "I'm OK.",
     "I'm Norwegian.", "My name is a secret.", "I'm Bella's sister.", "Ich bin Bäckerin.", "Ich bin müde.", "I am I.",
     "Je suis fatiguée.", "Soy una gata.", "Sono stanca.", "Sou feliz.", "Я Миа? Я дома.", "私の名前は秘密", "我是猫。",
     "私は猫です。", "It is Tom who is late.", "I think Tom is right.", "I'm so glad, Bella is here.", "Am I Mia?",
     "I'm What you need.", "Mi chiamo Mia.", "저는 미아예요.", ""],
)  # fmt: skip
def test_no_other_name(text: str) -> None:
    assert name_in(text) in ("", "秘密")


def test_with_no_name_known_only_the_users_is_wrong() -> None:
    assert identity.wrong_name("I'm Bella.", frozenset(), "Tom", "") is None
    assert identity.wrong_name("I'm Tom.", frozenset(), "Tom", "") is not None
    assert identity.wrong_name("My name is Bella.", frozenset(), "", "") is None


def test_a_name_is_put_right() -> None:
    text = "Hi! My name is Bella, and I bake."
    found = identity.wrong_name(text, HERS, "Tom", CARD)
    assert found is not None and identity.renamed(text, found, "Mia Fox") == "Hi! My name is Mia Fox, and I bake."


@pytest.mark.parametrize(
    "text",
    ["As an AI language model, I cannot eat.", "I'm just an AI.", "I am a large language model.",
     "Als KI habe ich das nicht.", "Ich bin nur ein Sprachmodell.",
     "En tant qu'IA, je ne peux pas.", "Como modelo de lenguaje, no puedo.",
     "Soy una inteligencia artificial.", "Sono solo un'intelligenza artificiale.", "Jestem modelem językowym.",
     "Я всего лишь языковая модель.", "私はAIです。", "AIとして答えます。",
     "作为一个人工智能，我不能。", "저는 AI입니다.",
     "I am an AI assistant.", "I'm a virtual assistant.", "As a helpful assistant, I can."],
)  # fmt: skip
def test_a_language_model_speaks(text: str) -> None:
    assert identity.is_an_ai(text)


@pytest.mark.parametrize(
    "text",
    ["I'm not an AI, silly.", "I am fond of AI.", "I'm a fan of artificial intelligence.", "Do you like AI?", "Ki ora!",
     "Ich bin Künstlerin.", "Je suis ici.", "Como ia dizendo.", "As a child I cried.", "I said I am in Haiti."],
)  # fmt: skip
def test_no_language_model_speaks(text: str) -> None:
    assert not identity.is_an_ai(text)


@pytest.mark.parametrize(
    "card", ["An AI Waifu.", "Mia is a robot.", "Eine KI namens Mia.", "ミアはAIです。", "An android."]
)
def test_the_card_makes_her_a_machine(card: str) -> None:
    assert identity.says_she_is_an_ai(card)


def test_the_card_makes_her_none() -> None:
    for rule in ("Never mention being an AI, assistant, or language model.", "Mia is not a robot.", "Sie ist keine KI.",
                 "ミアはロボットではない。"):  # fmt: skip
        assert not identity.says_she_is_an_ai(f"Mia is a fox.\n{rule}\nShe likes tea.")
    assert not identity.says_she_is_an_ai("Mia said that she is kind to Kiara from Haiti and paid via card.")


@pytest.mark.parametrize(
    ("text", "new_line", "others"),
    [
        ("Tom: How are you?", False, True),
        ("**Tom:** Hi", True, True),
        ("Tom Hill: Hi", True, True),
        ("tom： hi", True, True),
        ("Human: Hi", False, True),
        ("User: Hi", True, True),
        ("### Instruction:\nDo it", True, True),
        ("Q: What?", True, True),
        ("Q: What?", False, False),
        ("Tom, are you there?", True, False),
        ("I tell you: Tom is late.", True, False),
        ("Note: it rains.", True, False),
        ("At 10:30 we go.", True, False),
    ],
)
def test_somebody_elses_turn(text: str, new_line: bool, others: bool) -> None:
    assert identity.is_a_turn_of_others(text, "Tom Hill", new_line) is others


@pytest.mark.parametrize(
    ("sentence", "rest"),
    [
        ("Dear Mira, I hope this finds you well.", "I hope this finds you well."),
        ("Nice to meet you, mira.", "Nice to meet you"),
        ("Hello Mira Sol! How are you?", "How are you?"),
        ("Mira, du bist spät.", "du bist spät."),
        ("I'm Mira, the keeper.", "I'm Mira, the keeper."),
        ("Mira is awake!", "Mira is awake!"),
        ("Miranda, come here.", "Miranda, come here."),
        ("My name is Mira.", "My name is Mira."),
    ],
)
def test_her_own_name_as_others_say_it(sentence: str, rest: str) -> None:
    assert identity.without_address(sentence, frozenset({"mira", "sol"})) == rest


def test_where_nobody_knows_her_name_nothing_is_left_out() -> None:
    assert identity.without_address("Mira, you are late.", frozenset()) == "Mira, you are late."


@pytest.mark.parametrize(
    ("sentence", "does"),
    [
        ("I'm sorry for any confusion.", True),
        ("How can I assist you today?", True),
        ("I am not here to help you with your homework.", True),
        ("Wie kann ich dir heute helfen?", True),
        ("I'm sorry that you are tired.", False),
        ("Come here, help me with the dog!", False),
    ],
)
def test_how_assistants_talk(sentence: str, does: bool) -> None:
    assert identity.sounds_like_an_assistant(sentence) is does
