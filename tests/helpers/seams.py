"""Replies to cut, and every way in which somebody may go on from the cut."""

from __future__ import annotations

import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

ENGLISH = (
    "Once upon a time there was a lighthouse keeper who could not sleep. Every night she counted ships instead.",
    "Oh, that's wonderful news! I can't believe you finished it already. Shall we celebrate tonight?",
    "Hmm... I am not sure about that one. Could you tell me what you mean by 'soon'?",
    "Ha ha, you got me there. I walked right into it, didn't I?",
    "It is 10:45 and the train leaves at 11:05, so we have twenty minutes. That is plenty.",
    "My favorite number is 3.14159, though 42 comes close. Numbers are funny things.",
    'She looked at me and said, "You forgot the umbrella again." I had nothing to say to that.',
    "*smiles softly* Welcome back! I kept your chair warm. *pats the cushion*",
    "Rain taps on the window, the kettle hums, and the cat pretends not to care. What a lovely evening.",
    "No, no, I did not mean it that way. Please don't be upset with me.",
    "Well, first you melt the butter (slowly), then you add the flour, and then you stir for two minutes.",
    "The capital of Australia is Canberra, not Sydney. Many people get that wrong; I did too.",
    "Why did the robot cross the road? Because it was programmed by a chicken!",
    "I'd say it depends: if you're tired, rest; if you're restless, walk. Either way, drink some water.",
    "Mississippi, banana, committee, bookkeeper, assessment: some words just love doubled letters.",
    "Thank you for telling me. It takes courage to talk about such things, and I am glad that you did.",
    "Deep blue is my favorite color. It reminds me of the sea just before a storm rolls in.",
    "You could try a well-known trick: write down three good things each evening. It's simple, yet it works.",
    "Mr. Brown called at 9 a.m. and again at noon. He wants the e.g. column removed from the report.",
    "I dreamed about a city made of glass last night. Nobody threw stones there, not even the children.",
    "Sure! Here is a list:\n\n1. Milk\n2. Bread\n3. Two lemons\n\nDid I forget anything?",
    "The answer is yes. Always yes. Unless it is about spiders, in which case the answer is a very loud no!",
    "We climbed until the path ended, and then we climbed some more. Above the clouds the air tasted of snow.",
    "Honestly? I think that you worry too much. Things have a habit of working out in the end.",
)
UNSPACED = (
    "今天天气很好，我们去公园散步吧。你觉得怎么样？",
    "谢谢你告诉我这些。我会一直在这里陪着你，慢慢来。",
    "おはようございます。今日はいい天気ですね。散歩に行きましょうか？",
)
EMOJI = (
    "Good morning! 😀 I made pancakes 🥞 for the two of us. Do you want syrup?",
    "The crew is ready 👩‍🚀👨🏽‍🍳 and the flags are up 🇩🇪🇫🇷 for the launch. Wish us luck! 👍🏽",
    "That joke was great 😂😂😂 and I love you ❤️ for it. Tell me one more!",
)
TEXTS = ENGLISH + UNSPACED + EMOJI


@dataclass(frozen=True)
class Seam:
    """One way to go on: ``delivered`` was said, somebody says ``continuation``, ``text`` is what it should be."""

    text: str
    cut: int
    kind: str
    continuation: str
    exact: bool = False
    said_again: str = ""

    @property
    def delivered(self) -> str:
        return self.text[: self.cut]


def seams(text: str, dice: random.Random) -> Iterator[Seam]:
    """Every cut offset, every kind that makes sense there."""
    for cut in range(1, len(text)):
        before, rest = text[:cut], text[cut:]
        yield Seam(text, cut, "clean", rest, exact=True)
        yield Seam(text, cut, "full echo", text, exact=True, said_again=before)
        yield Seam(text, cut, "clean", rest)
        yield Seam(text, cut, "full echo", text, said_again=before)
        size = dice.randint(1, min(200, cut))
        yield Seam(text, cut, "overlap of 1 to 200", text[cut - size :], said_again=before[-size:])
        start = dice.choice([0, *(found.end() for found in re.finditer(r"\s", before))])
        if start < cut:
            yield Seam(text, cut, "overlap of words", text[start:], said_again=before[start:])
        if before[-1].isspace() or rest[0].isspace():
            yield Seam(text, cut, "lost space", rest.lstrip(" "))
        if before[-1] == " " or rest[0] == " ":
            yield Seam(text, cut, "doubled space", " " + rest)
        word = re.search(r"[^\W_]+$", before)
        if word and rest[0].isalnum():
            yield Seam(text, cut, "inside a word", text[word.start() :], said_again=word.group())


WORD = re.compile(r"[^\W_](?:[^\W_]|['’](?=[^\W_]))*['’]?")
HAN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def unclear(seam: Seam) -> str:
    """Why no text could tell how this one was meant; empty where it must come out right."""
    before, rest, again = seam.delivered, seam.text[seam.cut :], seam.said_again
    if seam.exact:
        words = len(set(re.findall(r"[^\W_]" if HAN.search(before) else r"[^\W_]+", before)))
        few = words < (2 if before[-1].isalnum() else 3)
        return "an echo of so few words is as likely to be meant" if again and few else ""
    if again:
        return _unclear_overlap(before, again)
    if seam.kind == "lost space" and before[-1].isalnum() and rest[:1] == " " and rest[1:2].isalnum():
        return "" if before[-1].islower() and rest[1].isupper() else "letters behind letters: a lost space or one word"
    if seam.kind == "lost space":
        return _unclear_space(before, rest)
    return _unclear_going_on(before, rest)


def _unclear_overlap(before: str, again: str) -> str:
    start = len(before) - len(again)
    if not any(c.isalnum() for c in again):
        return "signs only: as likely to be doubled"
    if again[0].isspace() and not before[-1].isspace() and len(set(re.findall(r"[^\W_]+", again))) < 3:
        return "begins with a space, less than three words: as likely to be doubled words"
    core = again.strip()
    if HAN.match(core):
        return "less than four characters of a script without spaces" if len(core) < 4 else ""
    inside = start and not again[0].isspace() and any(m.start() < start < m.end() for m in WORD.finditer(before))
    return "begins inside a word, less than eight letters" if inside and len(again.rstrip()) < 8 else ""


def _unclear_space(before: str, rest: str) -> str:
    if not rest.lstrip(" ")[:1].isalnum() or before[-1] in "'-" or unicodedata.category(before[-1])[0] in "SM":
        return "a sign that stands on either side of a space"
    return ""


def _unclear_going_on(before: str, rest: str) -> str:
    """A clean continuation that looks like saying something again: doubled words, and words like ``mama``."""
    text = rest.lstrip(" ")
    for word in WORD.finditer(before.rstrip()):
        tail = before[word.start() :].rstrip()
        if (before[-1].isspace() or not rest[0].isspace()) and text.startswith(tail):
            return "goes on with the very word"
    return ""
