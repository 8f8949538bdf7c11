"""A prompt's beginning stays put from turn to turn, and every fact of the request is still in it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from benchmarks.prefix.shapes import SHAPES, Shape, Talk, lmstudio, ollama, oobabooga, r4
from tests.unit.test_fit_to_window import roles_are_legal
from zwaif_fallback.models.control_tokens import BREAK
from zwaif_fallback.prompt import fit_to_window, formats
from zwaif_fallback.prompt.changing_notes import separate_notes
from zwaif_fallback.prompt.stable_prefix import PromptPrefixes
from zwaif_hooks.messages import ChatRequest, Message, ModelInfo, Purpose

ZEPHYR = ModelInfo("tiny", "tinyllama", 4096, "", "<s>", "</s>")
MISTRAL = ModelInfo("mistral", "mistral", 4096, "", "<s>", "</s>")
GENERIC = ModelInfo("unknown", "", 4096)
every_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def count(texts: Sequence[str]) -> list[int]:
    return [len(text) // 4 for text in texts]


def prompt_of(request: ChatRequest, model: ModelInfo, history: PromptPrefixes | None = None) -> str:
    fitted = fit_to_window.fit(request, model, count, history=history)
    assert roles_are_legal(fitted.messages)
    return formats.render(fitted.messages, model)


def common(one: str, other: str) -> int:
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def facts(text: str) -> list[str]:
    """Its sentences and lines, without Z-Waif's marks around them."""
    plain = re.sub(r"\[System M\];|\[Platform: [^]]*\]|; This is the end of the memory!;?", "", text)
    plain = re.sub(r"The current time now is (.+)\.", r"[\1]", plain)
    return [fact.strip() for fact in re.split(r"(?<=[.!?;])\s+|\n+", plain) if fact.strip(" .;")]


# --- the same facts --------------------------------------------------------------------------------------------------


@every_shape
@pytest.mark.parametrize("turns", [1, 7, 12, 29, 31, 60])
@pytest.mark.parametrize("model", [ZEPHYR, MISTRAL, GENERIC], ids=lambda model: model.name)
def test_every_fact_of_a_request_is_in_the_prompt(shape: Shape, turns: int, model: ModelInfo) -> None:
    request = shape(Talk(rag=True).grown_to(turns))
    prompt = prompt_of(request, replace(model, context_window=20_000), PromptPrefixes()).replace(BREAK, "")
    sent = [fact for message in request.messages for fact in facts(message.content)]
    assert len(sent) > 3
    for fact in sent:
        assert fact in prompt, fact


@every_shape
@pytest.mark.parametrize("turns", [12, 31, 60])
def test_in_a_window_that_is_too_small_only_earlier_turns_are_missing(shape: Shape, turns: int) -> None:
    talk = Talk(rag=True).grown_to(turns)
    request = shape(talk)
    prompt = prompt_of(request, replace(ZEPHYR, context_window=1500), PromptPrefixes())
    said = {fact for pair in talk.log for text in pair for fact in facts(text)}
    kept = [fact for message in request.messages for fact in facts(message.content) if fact not in said]
    for fact in [*kept, talk.words(), *facts(talk.log[-1][1]), *facts(talk.persona.character_card)]:
        assert fact in prompt, fact


def test_what_a_persona_knows_is_told_when_the_server_owned_it() -> None:
    talk = Talk().grown_to(3)
    persona = replace(talk.persona, platform="Discord", local_time="2026-11-24 19:03", relationship="close_friend")
    prompt = prompt_of(replace(oobabooga(talk), persona=persona), ZEPHYR)
    for fact in (*facts(persona.character_card), persona.task, "close friend", "Sam writes from: Discord.",
                 "[2026-11-24, about 19:00]"):  # fmt: skip
        assert fact in prompt, fact


def test_the_time_is_told_once() -> None:
    talk = Talk(limit=12).grown_to(14)
    request = oobabooga(replace(talk, persona=replace(talk.persona, local_time="2026-11-24 19:03")))
    assert prompt_of(request, ZEPHYR).count("2026") == 1


def test_notes_of_older_releases_are_told_apart_too() -> None:
    old = "[System M]; This message is a memory;\nUser: Hi\n[System M]; This is the end of the memory!"
    lore = "Here is some lore about the current topic from your lorebook;\n\nTower, it is high.\n\n"
    told = [Message("user", text) for text in (old, lore, "Hi")]
    asked = [Message("user", text) for text in ("No memory currently!", lore)]
    parted = separate_notes([*told, Message("assistant", "Yes?"), *asked])
    assert [note[:10] for note in parted.notes] == [old[:10], lore[:10]]
    assert [turn.content for turn in parted.turns] == ["Hi", "Yes?", lore], "the newest words are the user's own"


def test_the_newest_words_are_no_note_also_before_a_system_message() -> None:
    parted = separate_notes([Message("user", "No memory currently!"), Message("system", "Be kind.")])
    assert ([turn.content for turn in parted.turns], parted.notes) == (["No memory currently!"], [])


# --- the same beginning ----------------------------------------------------------------------------------------------


def shared(shape: Shape, talk: Talk, turns: int, model: ModelInfo) -> list[float]:
    """For each turn the share of its prompt that stood there at the last turn, replies included."""
    history, before, shares = PromptPrefixes(), "", list[float]()
    for _ in range(turns):
        prompt = prompt_of(shape(talk), model, history)
        shares.append(common(before, prompt) / len(prompt))
        before = prompt
        talk.answered()
    return shares[1:]


@every_shape
def test_the_beginning_stays_while_the_host_slides_its_window(shape: Shape) -> None:
    shares = shared(shape, Talk(limit=12).grown_to(10), 40, replace(ZEPHYR, context_window=20_000))
    steady = [share for share in shares if share > 0.6]
    assert len(steady) >= 0.85 * len(shares), "only where a whole block of turns goes, the prompt is another one"


@every_shape
@pytest.mark.parametrize("model", [ZEPHYR, MISTRAL], ids=lambda model: model.name)
def test_the_beginning_stays_while_the_model_s_window_is_full(shape: Shape, model: ModelInfo) -> None:
    shares = shared(shape, Talk().grown_to(30), 40, replace(model, context_window=2048))
    steady = [share for share in shares if share > 0.5]
    assert len(steady) >= 0.6 * len(shares)


def test_a_new_summary_is_a_note_until_the_beginning_is_read_anew() -> None:
    history, talk = PromptPrefixes(), Talk(limit=12).grown_to(18)
    before = prompt_of(ollama(talk), ZEPHYR, history)
    talk.answered()
    old = talk.summary()
    prompt_of(ollama(talk), ZEPHYR, history)
    talk.answered()
    prompt = prompt_of(ollama(talk), ZEPHYR, history)
    assert talk.summary() != old and prompt.index(old) < common(before, prompt) < prompt.index(talk.summary())
    fit_to_window.fit_next_turn(ollama(talk), talk.reply(), ZEPHYR, count, history)
    talk.answered()
    after = prompt_of(ollama(talk), ZEPHYR, history)
    assert old not in after and after.index(talk.summary()) < after.index(talk.log[-5][0])


def test_turns_the_host_no_longer_sends_stay_for_half_a_window_and_then_go_at_once() -> None:
    history, talk, begins = PromptPrefixes(), Talk(limit=40).grown_to(40), list[str]()
    for _ in range(45):
        fitted = fit_to_window.fit(lmstudio(talk), replace(ZEPHYR, context_window=50_000), count, history=history)
        begins.append(fitted.messages[1].content)
        talk.answered()
    assert len(set(begins)) == 3
    assert begins.count(begins[0]) == 21


def test_a_reroll_an_undo_and_a_second_conversation_keep_their_beginnings() -> None:
    history, talk, other = PromptPrefixes(), Talk(limit=10).grown_to(10), Talk("the sea", limit=10).grown_to(10)
    first = prompt_of(lmstudio(talk), ZEPHYR, history)
    talk.answered()
    there = prompt_of(lmstudio(other), ZEPHYR, history)
    for _ in range(2):
        again = prompt_of(lmstudio(talk), ZEPHYR, history)
        assert common(first, again) > 0.8 * len(first)
        other.answered()
        assert common(there, prompt_of(lmstudio(other), ZEPHYR, history)) > 0.8 * len(there)
    talk.log.pop()
    assert common(first, prompt_of(lmstudio(talk), ZEPHYR, history)) > 0.8 * len(first)


def test_an_edited_log_is_believed() -> None:
    history, talk = PromptPrefixes(), Talk(limit=10).grown_to(20)
    prompt_of(lmstudio(talk), ZEPHYR, history)
    talk.log[-10:] = [(f"Anew {said}", reply) for said, reply in talk.log[-10:]]
    prompt = prompt_of(lmstudio(talk), ZEPHYR, history)
    assert prompt == prompt_of(lmstudio(talk), ZEPHYR)


def test_single_questions_neither_use_nor_change_what_is_remembered() -> None:
    history, talk = PromptPrefixes(), Talk(limit=10).grown_to(10)
    first = prompt_of(lmstudio(talk), ZEPHYR, history)
    for purpose in (Purpose.SUMMARY, Purpose.IMAGE):
        single = replace(lmstudio(Talk(limit=4).grown_to(10)), purpose=purpose)
        assert prompt_of(single, ZEPHYR, history) == prompt_of(single, ZEPHYR)
    assert prompt_of(lmstudio(talk), ZEPHYR, history) == first


@every_shape
def test_what_is_read_ahead_is_how_the_next_prompt_begins(shape: Shape) -> None:
    history, talk = PromptPrefixes(), Talk(limit=12).grown_to(14)
    for _ in range(12):
        messages = fit_to_window.fit_next_turn(shape(talk), talk.reply(), ZEPHYR, count, history)
        read = formats.up_to_newest(messages, lambda m: formats.render(m, ZEPHYR))
        talk.answered()
        prompt = prompt_of(shape(talk), ZEPHYR, history)
        assert prompt.startswith(read)
        assert len(prompt) - len(read) < 1500, "only the notes and the newest words are left"


@pytest.mark.parametrize("shape", [oobabooga, ollama, r4])
def test_without_a_memory_of_the_last_prompt_as_much_fits_as_ever(shape: Callable[[Talk], ChatRequest]) -> None:
    prompt = prompt_of(shape(Talk().grown_to(60)), replace(ZEPHYR, context_window=1200))
    assert len(prompt) // 4 > (0.8 if shape is not r4 else 0.3) * 1000
