"""The listening test's judgement: recordings in, problems out."""

from __future__ import annotations

from typing import Any

from benchmarks.listener.judge import Heard, Scene, chat, table

CHATPOPS = frozenset({"Well, um"})
TALK = Scene("Voice chat", "talk", "Hello?", server="gone")
REPLY = "I am here. The tea is hot!"


def heard(*spoken: str, scene: Scene = TALK, **event: Any) -> Heard:
    times = [(float(number), number + 0.5, text) for number, text in enumerate(spoken)]
    known = {"heard": times, "reply": REPLY, "fallback": ["m on cpu"], "error": "", "stuck": False, "asked_again": 0}
    return Heard(scene, {**known, **event}, CHATPOPS)


def test_a_chatpop_and_each_sentence_once_is_right() -> None:
    one = heard("Well, um", "I am here.", "The tea is hot!")
    assert one.problems() == []
    assert (one.first_sound, one.first_sentence, one.longest_silence) == (0.0, 1.0, 0.5)


def test_a_sentence_spoken_twice_is_noticed() -> None:
    assert heard("Well, um", "I am here.", "I am here.", "The tea is hot!").problems() == [
        "what was spoken is not the reply"
    ]


def test_a_missing_chatpop_is_noticed() -> None:
    assert "0 chatpops" in heard("I am here.", "The tea is hot!").problems()


def test_of_a_skipped_reply_only_the_second_try_counts() -> None:
    scene = Scene("Hotkey", "skip", "Hello?", server="gone")
    one = heard("Well, um", "I was", "Well, um", "I am here.", "The tea is hot!", scene=scene)
    assert one.problems() == []


def test_a_reply_that_stops_in_the_middle_is_noticed() -> None:
    one = heard("Well, um", "I am here.", "The tea", reply="I am here. The tea")
    assert one.problems() == ["ends in the middle of a sentence"]


def test_a_reply_by_the_server_while_it_is_gone_is_noticed() -> None:
    assert "answered by server" in heard("Well, um", "I am here.", "The tea is hot!", fallback=[]).problems()


def test_minecraft_gets_what_is_in_the_history_and_nothing_is_spoken() -> None:
    scene = Scene("Minecraft", "minecraft", "Hi", server="gone", spoken=False)
    assert heard(scene=scene, sent_to_game=[REPLY]).problems() == []
    assert heard("I am here.", scene=scene, sent_to_game=["x"]).problems() == [
        "spoken aloud",
        "not what went into the game",
    ]


def test_the_newline_cut_and_rp_suppression_are_checked() -> None:
    scene = Scene("RP", "talk", "Hi", {"newline_cut": True, "supress_rp": True}, server="gone")
    assert heard("Well, um", "Hi.\nTom: me.", scene=scene, reply="Hi.\nTom: me.").problems() == [
        "a line break in spite of the newline cut",
        "speaks for somebody else",
    ]


def test_the_table_and_the_page_say_who_answered() -> None:
    one = heard("Well, um", "I am here.", "The tea is hot!")
    assert table([one])[-1] == "| Voice chat | gone | fallback | 0.00 s | 1.00 s | 0.50 s | 2 | yes |"
    assert chat([one], "Tom", "Mira")[0] == "**Tom:** Hello?"
    assert "> *Voice chat: the fallback*" in chat([one], "Tom", "Mira")
