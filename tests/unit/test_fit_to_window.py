from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zwaif_fallback.prompt import fit_to_window, formats
from zwaif_hooks.messages import ChatRequest, Message, ModelInfo, Persona, Purpose, Role

TINY = ModelInfo("tiny", "tinyllama", 2048, "", "<s>", "</s>")
MISTRAL = ModelInfo("mistral", "mistral", 2048, "", "<s>", "</s>")
MIA = Persona("Mia", "Sam", "{{char}} is a cheerful fox. She likes {{user}}.", "Cook together.", "close_friend",
              "Discord", "2026-11-23 14:07")  # fmt: skip

ASKED = "Answer in one or two sentences."
BEHAVE = "Write only your own next reply, in character."


def roles_are_legal(messages: Sequence[Message]) -> bool:
    """System at most once and first, then user and assistant in turn, starting and ending with the user."""
    turns = list(messages[1:] if messages and messages[0].role == "system" else messages)
    expected: tuple[Role, Role] = ("user", "assistant")
    return len(turns) % 2 == 1 and all(m.role == expected[i % 2] for i, m in enumerate(turns))


def count(texts: Sequence[str]) -> list[int]:
    """A tokenizer of a kind: two characters make a token, each of CJK and emoji one."""
    return [sum(1 if ord(c) > 0x2FF else 0.5 for c in text).__ceil__() for text in texts]


def ask(*messages: tuple[Role, str], model: ModelInfo = TINY, **request: object) -> list[Message]:
    made = ChatRequest("oobabooga", tuple(Message(role, text) for role, text in messages), **request)  # type: ignore[arg-type]
    return fit_to_window.fit(made, model, count).messages


def roles(messages: Sequence[Message]) -> list[str]:
    return [m.role for m in messages]


def test_persona_comes_first_when_the_server_owned_it() -> None:
    system, user = ask(("user", "Hello"), persona=MIA, persona_in_messages=False)
    assert system.role == "system"
    assert system.content.startswith("Mia is a cheerful fox. She likes Sam.\n\nCook together.")
    for fact in ("You are Mia", "with Sam", "close friend", "in character"):
        assert fact in system.content
    told = "(Keep in mind: Sam writes from: Discord.)\n\n[2026-11-23, about 14:00] Hello " + ASKED
    assert user == Message("user", told), "what may differ next time is told beside the newest words"


def test_a_persona_that_is_there_already_is_not_sent_twice() -> None:
    system, _ = ask(("system", "I am the card"), ("user", "Hello"), persona=MIA)
    friend = "Sam is your close friend, one of your favorites: be open, warm and lively. "
    who = f"You are Mia. You are talking with Sam. {friend}"
    assert system.content == f"I am the card\n\n{who}Write only your own next reply, in character."


@pytest.mark.parametrize(
    ("level", "told"),
    [
        ("stranger", "Sam is new to you: be polite"),
        ("acquaintance", "met Sam a few times"),
        ("friend", "Sam is your friend: talk casually"),
        ("close_friend", "Sam is your close friend"),
        ("vip", "Sam is very special to you"),
        ("old_enemy", "To you, they are: old enemy."),
    ],
)
def test_each_relationship_shapes_how_she_talks(level: str, told: str) -> None:
    for whose, asked in (("Sam", told), ("", told.replace("Sam", "the user"))):
        persona = replace(MIA, relationship=level, user_name=whose)
        system, _ = ask(("user", "Hello"), persona=persona, persona_in_messages=False)
        assert asked.casefold() in system.content.casefold()
    neither, _ = ask(("user", "Hello"), persona=replace(MIA, relationship=""), persona_in_messages=False)
    assert "To you" not in neither.content and "friend" not in neither.content


def test_a_card_is_told_in_plain_sentences_whoever_sends_it() -> None:
    card = 'Species("fox")\n<START>\n{{user}}: Hi!\n{{Char}}: *waves* Hello!'
    plain = "Mia's species is fox.\n\nSam: Hi!\nMia: *waves* Hello!"
    own = ask(("user", "Tea?"), persona=replace(MIA, character_card=card, task=""), persona_in_messages=False)
    sent = ask(("system", card), ("user", "Tea?"), persona=MIA)
    assert own[0].content.startswith(plain) and sent[0].content.startswith(plain)


def test_you_is_nobodys_name_where_it_means_her() -> None:
    mia = replace(MIA, user_name="You", character_card="{{char}} likes {{user}}.\n{{user}}: Hi!\n{{char}}: Ho!")
    system, newest = ask(("user", "Hello"), persona=mia, persona_in_messages=False)
    for told in (
        "Mia likes the user.\nthe user: Hi!\nMia: Ho!",
        "You are talking with the user. The user is your close",
    ):
        assert told in system.content
    assert "the user writes from" in newest.content
    assert fit_to_window.unfitted(
        ChatRequest("ollama", (Message("user", "Hi"),), persona=mia, persona_in_messages=False)
    )[0].content.startswith("Mia likes the user.")


def test_no_persona_no_system_message() -> None:
    assert ask(("user", "Hello"), persona=Persona(), persona_in_messages=False) == [Message("user", "Hello")]


def test_roles_become_legal() -> None:
    talk = ask(("user", "a"), ("user", "b"), ("assistant", "c"), ("user", ""), ("assistant", "d"), ("user", "e"))
    assert talk == [Message("user", "a\n\nb"), Message("assistant", "c\n\nd"), Message("user", "e")]


def test_a_summary_before_the_system_message_is_told_behind_the_character() -> None:
    talk = ask(("assistant", "We met in May."), ("system", "Card."), ("user", "Hi"))
    assert [m.content for m in talk] == [f"Card.\n\n{BEHAVE}\n\nWhat you said earlier: We met in May.", "Hi"]


def test_a_conversation_that_ends_with_the_assistant_gets_a_silent_user_turn() -> None:
    talk = ask(("user", "Hi"), ("assistant", "Hello!"), ("user", "  "))
    assert roles(talk) == ["user", "assistant", "user"]
    assert "go on" in talk[-1].content


@pytest.mark.parametrize("messages", [(), (("user", ""),), (("assistant", ""), ("system", " "))])
def test_empty_everything_is_still_a_conversation(messages: tuple[tuple[Role, str], ...]) -> None:
    assert roles_are_legal(ask(*messages))


@pytest.mark.parametrize(
    "text",
    [
        'Look!<img src="data:image/jpeg;base64,' + "QUJD" * 5000 + '">',
        "Look! data:image/png;base64," + "QUJD" * 5000 + "==",
        "Look!<IMG alt='' src='data:image/png;base64," + "QUJD" * 5000,
    ],
)
def test_pictures_never_reach_the_model(text: str) -> None:
    (user,) = ask(("user", text), has_image=True, purpose=Purpose.IMAGE)
    assert user.content.endswith(")\n\nLook!")
    assert "cannot see" in user.content and "QUJD" not in user.content


def test_a_picture_without_words_is_shown_in_words() -> None:
    assert ask(("user", "[System C] "), has_image=True)[-1].content.endswith("(shows you a picture)")


def test_host_markers_are_taken_out_and_the_platform_is_told() -> None:
    system, user = ask(("system", "Card."), ("user", "[Platform: Discord] [Platform: Discord Chat] [System Q] Hi [b]"))
    assert system.content == f"Card.\n\n{BEHAVE}"
    assert user.content == "(Keep in mind: The user writes from: Discord.)\n\nHi [b]"


def test_special_tokens_typed_by_a_user_stay_to_be_seen_and_do_not_end_the_turn() -> None:
    assert ask(("user", "a</s><s>b"))[-1].content == "a<\u200b/s><\u200bs>b"


def test_what_a_model_thought_before_an_earlier_reply_is_left_out() -> None:
    talk = ask(("user", "a"), ("assistant", "<think>\nHm.\n</think>\n\nHi."), ("user", "b <think>c</think>"))
    assert talk[1].content == "Hi."
    assert "c" in talk[2].content


def test_oldest_turns_go_first_and_persona_and_newest_stay() -> None:
    history: list[tuple[Role, str]] = []
    for number in range(100):
        history += [("user", f"question {number} " + "x" * 60), ("assistant", f"answer {number} " + "y" * 60)]
    talk = ask(("system", "Card " + "z" * 300), *history, ("user", "newest"), max_tokens=200)
    assert talk[0].content == "Card " + "z" * 300 + f"\n\n{BEHAVE}"
    assert talk[-1].content == "newest"
    assert talk[-2].content.startswith("answer 99 ")
    assert talk[1].content.startswith("question ")
    assert 10 < len(talk) < 100
    size = count([formats.render(talk, TINY)])[0]
    assert 2048 - 200 - 120 < size <= 2048 - 200, "as much of the history as fits"


def test_too_long_a_persona_is_cut_at_its_end_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        system, user = ask(("system", "Card " * 4000), ("user", "the newest turn"))
    assert user.content == f"the newest turn {ASKED}"
    assert system.content.startswith("Card Card")
    assert count([system.content])[0] > 1000, "cut no more than needed"
    assert [r.getMessage() for r in caplog.records if "too long for tiny" in r.getMessage()]


def test_too_long_a_message_is_cut_in_its_middle() -> None:
    text = "BEGIN " + "x" * 20000 + " END?"
    system, user = ask(("system", "Card."), ("user", text), purpose=Purpose.SUMMARY)
    assert system.content == "Card."
    assert user.content.startswith("BEGIN") and user.content.endswith("END?")
    assert count([formats.render([system, user], TINY)])[0] > 1500


def test_reply_room() -> None:
    assert fit_to_window.reply_room(300, 2048) == 300
    assert fit_to_window.reply_room(4000, 2048) == 1024
    assert fit_to_window.reply_room(0, 2048) == 300
    assert fit_to_window.reply_room(1, 2048) == fit_to_window.SMALLEST_REPLY


def test_a_long_begun_reply_keeps_its_end() -> None:
    request = ChatRequest("ollama", (Message("user", "Hi"),))
    fitted = fit_to_window.fit(request, replace(TINY, context_window=256), count, "Once " * 200 + "the end")
    assert fitted.partial.endswith("the end")
    assert count([formats.render(fitted.messages, TINY, fitted.partial)])[0] + fitted.max_tokens <= 256


def test_what_was_said_already_counts_for_the_length_of_the_reply() -> None:
    request = ChatRequest("ollama", (Message("user", "Hi"),), max_tokens=100)
    assert fit_to_window.fit(request, TINY, count, "x" * 60).max_tokens == 70
    assert fit_to_window.fit(request, TINY, count, "x" * 600).max_tokens == fit_to_window.SMALLEST_REPLY


def test_whole_leaves_nothing_out() -> None:
    messages = tuple(Message("user" if i % 2 else "assistant", f"{i} " + "x" * 900) for i in range(60))
    text = "".join(m.content for m in fit_to_window.unfitted(ChatRequest("ollama", messages, persona=MIA)))
    assert all(m.content in text for m in messages)


def test_an_unusable_template_is_measured_by_the_familys_format() -> None:
    broken = replace(TINY, chat_template="{{ raise_exception('no') }}")
    assert ask(("user", "Hi"), model=broken) == [Message("user", "Hi")]


TEXTS = st.one_of(
    st.sampled_from(["", " ", "\n", "Hello there.", "你好,世界", "🙂👩‍👩‍👧‍👦", "{eos} {} %s {{ x }}", "\u0000\ud7ff"]),
    st.text(max_size=400),
    st.text(alphabet="añ 漢🙂\n", min_size=300, max_size=900),
)
MESSAGES = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXTS)
PERSONAS = st.builds(Persona, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
REQUESTS = st.builds(
    ChatRequest,
    backend=st.just("oobabooga"),
    messages=st.lists(MESSAGES, max_size=14).map(tuple),
    max_tokens=st.integers(0, 5000),
    has_image=st.booleans(),
    purpose=st.sampled_from(Purpose),
    persona=PERSONAS,
    persona_in_messages=st.booleans(),
)
WINDOWS = st.sampled_from([128, 256, 512, 2048])


@pytest.mark.slow
@settings(max_examples=1000, deadline=None)
@given(request=REQUESTS, window=WINDOWS, base=st.sampled_from([TINY, MISTRAL]), partial=TEXTS)
def test_any_history_becomes_legal_and_fits(request: ChatRequest, window: int, base: ModelInfo, partial: str) -> None:
    model = replace(base, context_window=window)
    fitted = fit_to_window.fit(request, model, count, partial)
    prompt = formats.render(fitted.messages, model, fitted.partial)
    assert roles_are_legal(fitted.messages)
    assert prompt.endswith(fitted.partial) and formats.escape(partial, model).endswith(fitted.partial)
    assert count([prompt])[0] + fitted.max_tokens <= window
    _persona_and_newest_are_whole_if_they_can_be(request, model, fitted)


def _persona_and_newest_are_whole_if_they_can_be(
    request: ChatRequest, model: ModelInfo, fitted: fit_to_window.Fitted
) -> None:
    whole = fit_to_window.fit(request, replace(model, context_window=100_000), count, fitted.partial)
    sent = tuple(m for m in request.messages if m.role == "system")
    bare_request = replace(request, messages=sent, has_image=False)
    bare = fit_to_window.fit(bare_request, replace(model, context_window=10**5), count).messages
    system = bare[0].content if bare[0].role == "system" else ""
    newest = whole.messages[-1].content
    least = [Message("system", system)] * bool(system) + [Message("user", newest)]
    if count([formats.render(least, model, fitted.partial)])[0] + fitted.max_tokens <= model.context_window:
        assert fitted.messages[0].content.startswith(system) if system else True
        last = [m.content.strip() for m in request.messages if m.content.strip() and m.role != "system"]
        ends_with_user = last and [m for m in request.messages if m.content.strip() and m.role != "system"][-1]
        if ends_with_user and ends_with_user.role == "user":
            assert formats.escape(last[-1], model) in fitted.messages[-1].content
