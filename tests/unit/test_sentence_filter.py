from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zwaif_fallback.languages import LANGUAGES
from zwaif_fallback.reply_quality import expected_reply, sentence_filter
from zwaif_fallback.reply_quality.expected_reply import Expected, expected
from zwaif_fallback.reply_quality.sentence_filter import (
    ASSISTANT,
    ECHO,
    LOOP,
    MACHINE,
    NAME,
    NO_ANSWER,
    OTHERS,
    PROMPT,
    SAID_BEFORE,
    TO_HERSELF,
    SentenceFilter,
    another_try,
)
from zwaif_hooks.messages import ChatRequest, Message, Persona, Purpose, Sampling

MIA = Expected("Mia", "Tom", "Mia is a fox.", frozenset({"i was at the lake all day"}), words=20)
SMALL = replace(MIA, is_forgetful=True)


def through(text: str, wanted: Expected = MIA, *, ran_out: bool = False, **how: object) -> tuple[str, SentenceFilter]:
    reply = SentenceFilter(wanted, **how)  # type: ignore[arg-type]
    said = reply.feed(text)
    return said + reply.finish(ran_out), reply


def said(text: str, wanted: Expected = MIA, **how: object) -> str:
    return through(text, wanted, **how)[0]  # type: ignore[arg-type]


def test_sentence_by_sentence() -> None:
    reply = SentenceFilter(MIA)
    assert [reply.feed(piece) for piece in ("Hel", "lo", " Tom.", " I", " slept", ". ", "An")] == [
        "", "", "", "Hello Tom.", "", "", " I slept."]  # fmt: skip
    assert reply.feed("d you") + reply.finish() == " And you"


def test_an_unfinished_sentence_is_left_out_when_tokens_run_out() -> None:
    assert said("I slept well. Then I went to the", ran_out=True) == "I slept well."
    assert said("I slept well. Then I went home", ran_out=False) == "I slept well. Then I went home."
    assert said("yes i slept well then went home") == "yes i slept well then went home"
    assert said("OK then") == "OK then"
    assert said("I slept well. Then I went to the") == "I slept well."
    assert said("I slept well. *smiles*", ran_out=True) == "I slept well. *smiles*"


def test_the_only_sentence_is_cut_at_a_clause() -> None:
    assert said("I was down at the sea, where I saw a wha", ran_out=True) == "I was down at the sea…"
    assert said(" and then home, where I", begun="We went to the sea", ran_out=True) == " and then home…"


def test_it_ends_behind_a_sentence_when_she_has_said_as_much_as_usual() -> None:
    text = "".join(f"Number {n} went home with {n + 7} of us. " for n in range(1, 99))
    spoken, reply = through(text)
    assert spoken.endswith("of us.") and 20 <= len(spoken.split()) <= 27
    assert reply.ended and not reply.fault


def test_a_sentence_that_is_far_too_long_is_not_begun() -> None:
    assert said("Yes, I do like it here very much, Tom. " + "And on it goes, " + "on it goes " * 30 + "it ends.") == (
        "Yes, I do like it here very much, Tom."
    )


def test_a_first_sentence_without_an_end() -> None:
    text = " ".join(f"word{n}" + "," * (n % 9 == 0) for n in range(500))
    assert through(text, tries_left=1)[1].fault == sentence_filter.ENDLESS
    assert said(text).endswith("…") and len(said(text).split()) <= sentence_filter.SENTENCE_WORDS + 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("I'm a special-eye-dog. I'm a special-eye-dog. I'm", LOOP),
        ("Mia's kind is fox. *pauses*\n\nMia's kind is fox.\n\n", LOOP),
        ("I am very very very very very very glad. Yes.", LOOP),
        ("My name is Bella. I live here.", NAME),
        ("I'm Tom! Hi.", NAME),
        ("As an AI language model, I cannot. Sorry.", MACHINE),
        ("Tom: How are you? ", OTHERS),
        ("Bella: How are you? ", OTHERS),
        ("### Instruction: do it now. ", OTHERS),
        ("I was at the lake all day. Nice.", SAID_BEFORE),
        ("(The current time now is 24 November, 2026.) Hi. ", PROMPT),
        ("(The current time now)", PROMPT),
        ('(The answer is: "silver")', PROMPT),
    ],
)
def test_what_is_noticed_before_it_is_said(text: str, fault: str) -> None:
    spoken, reply = through(text, tries_left=2)
    assert reply.ended and reply.fault == fault and not reply.has_said_enough
    assert spoken in ("", "I'm a special-eye-dog.", "Mia's kind is fox. *pauses*")
    assert spoken + reply.thrown_away.replace("  ", " ") != spoken


@pytest.mark.parametrize(
    "later",
    ["My name is Bella.", "As an AI, I cannot.", "Tom: Hi!", "I like the sea a lot, and the wind.", "\nQ: Why?",
     "I was at the lake all day."],
)  # fmt: skip
def test_a_fault_later_on_ends_the_reply_before_it(later: str) -> None:
    good = "I like the sea a lot, and the wind."
    spoken, reply = through(f"{good} {later} And more.", tries_left=2)
    assert (spoken, reply.ended, reply.has_said_enough) == (good, True, True)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("My name is Bella. I live here.", "My name is Mia. I live here."),
        ("I'm Tom, and I bake.", "I'm Mia, and I bake."),
        ("As an AI language model, I cannot. I like tea.", "I like tea."),
        ("Bella: How are you?", "How are you?"),
        ("Tom: How are you?", ""),
        ("very very very very very very very", "very…"),
        ("I was at the lake all day.", "I was at the lake all day."),
        ("I'm a dog, you know. I'm a dog, you know. ", "I'm a dog, you know."),
    ],
)
def test_with_no_other_try_what_is_harmless_is_said(text: str, rest: str) -> None:
    assert said(text).strip() == rest


def test_a_pattern_is_a_loop_when_it_comes_for_the_third_time() -> None:
    text = "I like to be here, Tom. I like to be with you. I like to be good."
    assert said(text) == "I like to be here, Tom. I like to be with you."


def test_a_first_sentence_to_herself_is_tried_again() -> None:
    assert through("Dear Mia, I hope you are well.", SMALL, tries_left=1)[1].fault == TO_HERSELF
    assert said("Dear Mia, I hope you are well.", SMALL) == "I hope you are well."
    assert said("I slept. You are late, Mia.", SMALL, tries_left=1) == "I slept. You are late, Mia."
    assert said("Dear Mia, I hope you are well.", tries_left=1) == "Dear Mia, I hope you are well."


def test_a_first_sentence_without_the_answer_is_tried_again() -> None:
    wanted = replace(SMALL, answers=frozenset({"dora", "pigeons", "mia"}))
    assert through("What a lovely question to ask.", wanted, tries_left=1)[1].fault == NO_ANSWER
    assert through("Nice to ask you, Mia.", wanted, tries_left=1)[1].fault == TO_HERSELF
    assert said("What a lovely question to ask.", wanted) == "What a lovely question to ask."
    assert said("She breeds Pigeons, you know.", wanted, tries_left=1) == "She breeds Pigeons, you know."
    assert said("Oh, that one! She breeds pigeons.", wanted, tries_left=1) == "Oh, that one! She breeds pigeons."
    assert said(" of course, as I said.", wanted, begun="You know", tries_left=1) == " of course, as I said."


@pytest.mark.parametrize("knows", [True, False])
def test_only_a_model_that_loses_its_card_is_asked_for_the_answer(knows: bool) -> None:
    request = ChatRequest(
        "ollama",
        (Message("user", "Who is your sister?"),),
        persona=Persona("Mia", "Tom", "Her sister is called Dora."),
    )
    assert expected(request, knows).answers == (frozenset() if knows else frozenset({"dora"}))


def test_the_users_own_words_are_no_reply() -> None:
    request = ChatRequest("ollama", (Message("user", "Are you on Discord today? I am."),))
    wanted = expected(request, knows_its_card=False)
    assert through("Are you on Discord today?", wanted, tries_left=1)[1].fault == ECHO
    assert said("Are you on Discord today?", wanted) == "Are you on Discord today?"
    assert said("I am. And you?", wanted, tries_left=1) == "I am. And you?"


def test_a_word_without_an_end_is_a_loop() -> None:
    spoken, reply = through("I am 2" + "7" * 200, ran_out=True, tries_left=1)
    assert (spoken, reply.fault) == ("", LOOP) and len(reply.thrown_away) <= 206
    assert said("Nooooooooooo!") == "Nooooooooooo!"


def test_a_first_sentence_as_assistants_talk_is_tried_again() -> None:
    assert through("I am here to assist you today.", SMALL, tries_left=1)[1].fault == ASSISTANT
    assert said("I am here to assist you today.", SMALL) == "I am here to assist you today."
    assert said("I am here to assist you today.", tries_left=1) == "I am here to assist you today."


def test_what_stands_in_the_prompt_is_not_read_out() -> None:
    talk = [Message("user", "Hi"), Message("assistant", "(smiles at you and pours a cup of hot tea) Hello.")]
    brackets = expected(ChatRequest("ollama", (*talk, Message("user", "Hi")), persona=Persona("Mia", "Tom")))
    for language in LANGUAGES.values():
        line = language.ask.format(language.lengths[0])
        assert through(f"{line} Yes.", tries_left=2)[1].fault == PROMPT
        assert said(f"{line}\nI do.").strip() == "I do."
    for action in ("(smiles) Hello.", "Hello (smiles)."):
        assert said(action, tries_left=2) == action
    assert (
        said("(The answer to this question is: silver and long)") == "The answer to this question is: silver and long."
    )
    assert said("(leans back and looks out at the sea) Hello.", brackets, tries_left=2).startswith("(leans")


def test_a_machine_may_say_what_it_is() -> None:
    card = Expected("Mia", "Tom", "Mia is an AI.", words=20)
    assert said("I'm an AI, you know. Nice, isn't it?", card, tries_left=2) == "I'm an AI, you know. Nice, isn't it?"


def test_a_name_across_the_seam() -> None:
    spoken, reply = through(" Bella. And you?", begun="Hello! My name is", tries_left=1)
    assert (spoken, reply.fault) == ("", NAME)
    assert said(" Bella. And you?", begun="Hello! My name is") == " Mia. And you?"
    assert said(" Mia. And you?", begun="Hello! My name is", tries_left=1) == " Mia. And you?"


def test_what_was_begun_is_not_said_again() -> None:
    assert through("I like the sea. And you?", begun="I like the sea. ", tries_left=1)[1].fault == LOOP


def test_code_lists_and_songs_stay_as_they_are() -> None:
    wanted = Expected("Mia", "Tom", "", words=160)
    code = "Here it is:\n```python\nx = 1\nx = 1\nx = 1\nprint(x. y)\n# My name is Bella.\n```\nDo you like it?"
    assert said(code, wanted, tries_left=2) == code
    assert said(code[: code.index("# My")], wanted, ran_out=True).endswith("\n```")
    song = "Row, row, row your boat\nGently down the stream\nMerrily, merrily\nMerrily, merrily\nLife is but a dream"
    assert said(song, wanted, tries_left=2) == song
    steps = "1. Wash it.\n2. Dry it.\n3. Fold it.\n- the shirt\n- the skirt"
    assert said(steps, wanted, tries_left=2) == steps


def test_a_summary_is_cut_for_loops_alone() -> None:
    text = "Tom: said hello. My name is Bella, said Mia. As an AI, she answered. " + "Then they talked on. " * 2
    wanted = expected(ChatRequest("ollama", (Message("user", "Sum up."),), purpose=Purpose.SUMMARY))
    assert said(text, wanted, tries_left=2) == text[: text.rindex(" Then")].strip()


@pytest.mark.parametrize(
    ("replies_before", "question", "words"),
    [
        ([], "Hi", expected_reply.UNKNOWN_WORDS),
        (["Oh, welcome back! *smiles*"], "Hi", expected_reply.FIRST_WORDS),
        (["Yes.", "No."], "Hi", expected_reply.LEAST_WORDS),
        (["word " * 30] * 3, "Hi", 30),
        (["Yes.", "No."], "Tell me a story!", expected_reply.LONG_WORDS),
        (["Yes.", "No."], "Erzähl mir eine Geschichte!", expected_reply.LONG_WORDS),
        (["Yes.", "No."], "物語を聞かせて", expected_reply.LONG_WORDS),
    ],
)
def test_how_long_a_reply_is_wanted(replies_before: list[str], question: str, words: int) -> None:
    turns = [m for text in replies_before for m in (Message("user", "So?"), Message("assistant", text))]
    assert expected(ChatRequest("ollama", (*turns, Message("user", question)))).words == words


def test_all_that_tells_who_she_is_counts_as_her_card() -> None:
    request = ChatRequest("ollama", (Message("system", "An AI Waifu."), Message("user", "Hi")), persona=Persona("Mia"))
    assert expected(request).may_be_an_ai


def test_another_try_is_cooler_and_other() -> None:
    hot = Sampling(temperature=1.17, seed=7)
    first = another_try(hot, 0, NAME)
    second = another_try(first, 1, NAME)
    assert 1.17 > (first.temperature or 0) > (second.temperature or 0) >= 0.2
    assert len({hot.seed, first.seed, second.seed}) == 3
    calm = another_try(Sampling(temperature=0.2), 0, LOOP)
    assert (calm.temperature or 0) > 0.2 and (calm.repetition_penalty or 0) > 1.0


WORDS = st.sampled_from(
    ["I'm ", "Bella", "Tom: ", ". ", "! ", "very ", "very ", "I like tea. ", "I like tea. ", "\n", "AI ", "as an ", "…",
     "😊 ", "```\n", "mein Name ist ", "Anna", "。", "私は", "Dr. ", "3.", "5 ",
     '"', "* ", "*smiles* ", "and ", ", ", "ค่ะ "]
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(
    st.lists(WORDS, max_size=40).map("".join),
    st.data(),
    st.integers(0, 2),
    st.booleans(),
    st.sampled_from(["", "I li"]),
)
def test_any_cutting_into_pieces_says_the_same(
    text: str, data: st.DataObject, left: int, out: bool, begun: str
) -> None:
    whole, one = through(text, ran_out=out, tries_left=left, begun=begun)
    reply, pieces = SentenceFilter(MIA, begun, left), ""
    rest = text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces, rest = pieces + reply.feed(rest[:size]), rest[size:]
    pieces += reply.finish(out)
    assert (pieces, reply.ended, reply.fault, reply.thrown_away) == (whole, one.ended, one.fault, one.thrown_away)
    assert len(whole) <= len(text) + 60
