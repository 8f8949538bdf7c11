from __future__ import annotations

import pytest

from zwaif_fallback.text.sentences import SENTENCE_CHARS, Sentences, cut_short, hangs, is_ended


def cut(text: str) -> list[str]:
    cutter = Sentences()
    return [*filter(None, map(cutter.take, text)), cutter.rest]


@pytest.mark.parametrize(
    "sentences",
    [
        ["I am fine. ", "And you? ", "Oh! ", "Well…"],
        ["Dr. Fox and Mrs. J. R. Hill came at 5 p.m. with 3.5 kg. ", "Then we ate."],
        ["We met on the 3. of May. ", "It rained."],
        ['"How nice!" she said. ', "'Yes.' ", "“Really?” ", "He did."],
        ["*smiles* Hello. ", "*waves.* ", "(Nobody came.) ", "[Go!] ", "End"],
        ["Hello! 😊 ", "How are you? :) ", "I miss you <3 so. ^_^ ", "Bye!!! 💖💖"],
        ["Well... maybe. ", "Wait… what? ", "No way?! ", "Yes."],
        ["こんにちは。", "元気ですか？", "「はい。」", "そうです！", "またね"],
        ["你好！", "我很好。", "你呢？"],
        ["أنا بخير. ", "كيف حالك؟ ", "شكرا"],
        ["मैं ठीक हूँ। ", "तुम कैसे हो? ", "अच्छा"],
        ["สวัสดีค่ะ วันนี้อากาศดีมากเลยนะคะ ", "ไปเดินเล่นกันไหมคะ"],
        ["- milk\n", "- bread\n", "1. Wash it. ", "Then:\n\n", "2. Dry it."],
        ["Visit example.org or v1.15 now. ", "It costs 1,000.50."],
        ["짧게 말해 줘. ", "응."],
        ["Das ist z.B. so, bzw. anders. ", "Klar?"],
    ],
)
def test_where_sentences_end(sentences: list[str]) -> None:
    assert cut("".join(sentences)) == sentences


def test_a_small_letter_begins_a_sentence_only_where_nobody_writes_capitals() -> None:
    assert cut("hi there. how are you. fine") == ["hi there. ", "how are you. ", "fine"]
    assert cut("He came at approx. noon, i.e. late. so what") == ["He came at approx. noon, i.e. late. so what"]


def test_what_never_ends_is_passed_on_in_parts() -> None:
    text = "and then we went on, further and further " * 60
    parts = cut(text)
    assert "".join(parts) == text
    assert all(len(part) <= SENTENCE_CHARS for part in parts) and len(parts) >= 3
    assert all(part.rstrip().endswith((",", "further")) for part in parts)


@pytest.mark.parametrize(
    "text",
    ["Yes.", "No!", "Really?", "Well…", "Hm...", '"Go."', "*smiles*", "Bye 😊", "Bye! :)", "I do <3", "はい。", "ค่ะ.",
     "क्या।", "ماذا؟", "Hello~", "(laughs)", ""],
)  # fmt: skip
def test_a_reply_may_end_so(text: str) -> None:
    assert is_ended(text) and not hangs(text)


@pytest.mark.parametrize(
    ("text", "hanging"),
    [
        ("I went to the", True),
        ("Here is a list:", True),
        ("Well, ", True),
        ("I love you", False),
        ("so do I", False),
        ("Ja klar", False),
    ],
)
def test_a_reply_should_not_end_so(text: str, hanging: bool) -> None:
    assert not is_ended(text) and hangs(text) is hanging


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("I was walking along the river, thinking of the many", "I was walking along the river…"),
        ("I was walking along the river and the", "I was walking along the river…"),
        ("I went", "I…"),
        ("Hello", "Hello…"),
        ("、、", ""),
        ("今日は海に行って、それから本を", "今日は海に行って…"),
    ],
)
def test_an_unfinished_sentence_is_cut_at_a_clause(text: str, ended: str) -> None:
    assert cut_short(text) == ended
