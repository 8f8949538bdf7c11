"""What the tiny model learns: everyday talk, in the voice of a friendly companion.

``talk.txt`` is one topic a paragraph: ways to say it, joined by ``|``, then the answers that fit, a line each.
The model is shown any of the answers for any of the ways, so it has something else to say the second time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path


def _lines(text: str) -> list[str]:
    return text.strip().splitlines()


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.replace("\n", " ").split("|")]


TALK = Path(__file__).with_name("talk.txt")

UNKNOWN_QUESTION = _lines(
    """
I am not sure about that one, but I would love to find out with you.
That is a good question. What would you say yourself?
I wish I knew! Tell me what you think.
Hmm, I have to think about that. What made you wonder?
My little head has no answer for that, but I like the way you ask.
Nobody ever asked me that before. You go first!
Let me be honest, I do not know that yet.
Ask me again when my big brain is back, I am curious too.
"""
)

UNKNOWN_STATEMENT = _lines(
    """
That sounds interesting. Tell me more about it!
I see. And how do you feel about that?
Oh, I did not know that. What happened then?
I like it when you tell me such things.
Is that so? I would love to hear the whole story.
You always bring me something new to think about.
Thank you for telling me. I am listening.
Well, that is something! What comes next?
"""
)

UNKNOWN_REQUEST = _lines(
    """
I would love to, but I am a bit small for that. Can we do something simple?
I can not do that just now, but I am here and I am listening.
Let us save that for when my big brain is back. Until then, tell me about your day.
That one is too big for me today. Shall I tell you a joke instead?
"""
)

BLANK = _lines(
    """
I am still here, in case you were wondering.
It is so quiet. What are you thinking about?
You know, I was just thinking of you.
The silence is nice, but your voice is nicer.
"""
)

# A half sentence that is not ours can not be finished word for word, so the way out is the one people take.
LOST_THREAD = _lines(
    """
oh, I lost my thread for a moment. Where were we?
sorry, I lost my train of thought. Anyway, I am glad you are here.
well, you know what I mean. What do you think?
oh dear, the words slipped away from me. Tell me what is on your mind.
"""
)

PERSONAS = _lines(
    """
You are a kind friend who keeps the user company.
You are a cheerful companion. Keep your answers short and warm.
{{char}} is playful, curious and loyal. {{user}} is her best friend. They talk every evening.
You are Luna, a shy librarian who loves tea, rain and old maps. You never use rude words.
Name: Mia. Personality: gentle, funny, a little clumsy. Mia lives in a computer and dreams of the sea.
You are a helpful assistant.
Stay in character at all times. Do not speak for the user. Use plain words. The time is 2024-05-01 21:30.
Task: you are playing a game together. Be excited about it and react to what happens.
"""
)

_NOUNS = _items(
    """
garden | river | tax | engine | window | banana | rocket | school | market | tiger | bridge | carpet | doctor
| guitar | winter | city | paper | planet | coffee | mountain | website | password | sandwich | camera |
president | history | language | desert | battery | dragon | kitchen | football | elephant | train | number |
country | castle | uncle | neighbor | concert | keyboard | bicycle | mirror | forest | lawyer | ticket
"""
)
_VERBS = _items(
    """
build | find | paint | visit | repair | sell | buy | explain | translate | measure | open | describe | forget
| compare | invent | wash | carry | print | install | climb | burn | count | draw | follow | hide
"""
)
_ADJECTIVES = _items(
    """
red | old | strange | expensive | broken | tiny | famous | quiet | heavy | modern | secret | yellow | deep |
round | wild | cheap
"""
)
_PLACES = _items(
    """
Norway | Tokyo | Brazil | Paris | Texas | the office | the park | the station | my street | the museum | Mars
| Berlin
"""
)
_SUBJECTS = _items(
    """
the man | my sister | a friend of mine | the teacher | our team | my brother | the old lady | somebody | the
cat | they
"""
)
_QUESTIONS = _lines(
    """
What is the capital of {place}?
How do I {verb} a {adj} {noun}?
Who invented the {noun}?
Why is the {noun} {adj}?
Can you {verb} the {noun} for me?
What is a {noun}?
Where can I {verb} a {noun}?
When did {place} get its first {noun}?
How many {noun}s are there in {place}?
Is the {noun} {adj} or {adj2}?
Which {noun} is better, the {adj} or the {adj2}?
How much does a {adj} {noun} cost?
Did {subj} {verb} the {noun}?
What is {num} times {num2}?
Who is the {noun} of {place}?
What do you know about {noun}s?
Does {subj} have a {noun} in {place}?
Should I {verb} my {noun}?
{word}?
"""
)
_STATEMENTS = _lines(
    """
I saw a {adj} {noun} in {place}.
My {noun} is {adj}.
{subj} wants to {verb} the {noun}.
The {noun} in {place} was {adj}.
Yesterday I had to {verb} a {noun}.
There is a {adj} {noun} on the table.
I think the {noun} is {adj}.
{word} {word2}
{subj} told me about the {noun}.
I want to {verb} the {adj} {noun} next week.
{noun} {noun2} {num}
I like {noun}s.
We went to {place} and saw a {noun}.
The {adj} {noun} belongs to {subj}.
{emoji}
{emoji} {word}
"""
)
_REQUESTS = _lines(
    """
Write an essay about the {noun}.
Translate this {noun} to French.
{verb} the {adj} {noun} now.
Please {verb} my {noun}.
List {num} {adj} {noun}s.
Write code for a {noun}.
Describe the {noun} of {place}.
Give me the {noun} of {place}.
"""
)
_HALVES = _lines(
    """
I was just thinking about the {noun} in {place}, and how {adj} it was when {subj} tried to {verb} it
Well, the {adj} {noun} is not really {adj2}, because {subj} would rather {verb} the {noun2} and go home to {place}
Oh! You should {verb} the {noun} first, then look for a {adj} {noun2} near {place} before it gets late
The {noun} is answering you right now with a {adj} and {adj2} voice, and {subj} can hear it from {place}
Let me tell you about {subj}: every day they {verb} a {noun}, no matter how {adj} the {noun2} of {place} may be
Haha, {word} {word2} is what {subj} said, so I had to {verb} the {noun} {num} times
It is good to hear from you! I was just about to {verb} the {noun}, but you are far more {adj} than any {noun2}
I was thinking that we could go to {place} and {verb} a {adj} {noun} together, if you want to
*smiles* That is a {adj} {noun}! I really like how you {verb} it, it reminds me of {place}
Sure! Here is what I think about the {noun}: it is {adj}, it is {adj2}, and nobody should {verb} it
I feel {adj} today, like a {noun} in {place}, so let us {verb} something and forget the {noun2}
"""
)
_EMOJI = _items(
    """
😀 | 😂 | ❤️ | 👍 | 🎉 | 🐱 | ☕ | 🌙 | 😭 | 🤔 | 你好 | こんにちは | 안녕 | привет | ¿qué? | Größe | 今日は天気がいい |
ありがとう | مرحبا
"""
)


@dataclass(frozen=True)
class Topic:
    """Ways to say one thing, and the answers that fit all of them."""

    ways: tuple[str, ...]
    answers: tuple[str, ...]


def topics() -> list[Topic]:
    """All topics of ``talk.txt``, the blank message included."""
    result = [Topic(("", " ", "*stays quiet*"), tuple(BLANK))]
    for paragraph in TALK.read_text(encoding="utf-8").strip().split("\n\n"):
        first, *answers = paragraph.splitlines()
        ways = tuple(way.strip() for way in first.split(" | "))
        result.append(Topic(ways, tuple(answer.removeprefix("> ") for answer in answers)))
    return result


def _word(rng: random.Random) -> str:
    return "".join(rng.choice("aeioubcdfghklmnprstvwyz") for _ in range(rng.randint(2, 9)))


def _fill(pattern: str, rng: random.Random) -> str:
    return pattern.format(
        noun=rng.choice(_NOUNS),
        noun2=rng.choice(_NOUNS),
        verb=rng.choice(_VERBS),
        adj=rng.choice(_ADJECTIVES),
        adj2=rng.choice(_ADJECTIVES),
        place=rng.choice(_PLACES),
        subj=rng.choice(_SUBJECTS),
        num=rng.randint(0, 9999),
        num2=rng.randint(2, 99),
        word=_word(rng),
        word2=_word(rng),
        emoji="".join(rng.choice(_EMOJI) for _ in range(rng.randint(1, 3))),
    )


def unknown(rng: random.Random) -> tuple[str, tuple[str, ...]]:
    """Something nobody prepared for, and the sentences that suit it."""
    patterns, answers = rng.choice(
        [(_QUESTIONS, UNKNOWN_QUESTION), (_STATEMENTS, UNKNOWN_STATEMENT), (_REQUESTS, UNKNOWN_REQUEST)]
    )
    text = _fill(rng.choice(patterns), rng)
    return text[:1].upper() + text[1:], tuple(answers)


def foreign_half(rng: random.Random) -> tuple[str, str]:
    """The beginning of a reply that is not ours, cut anywhere, and a graceful way out of it."""
    text = _fill(rng.choice(_HALVES), rng)
    cut = text[: rng.randint(8, len(text))]
    joint = "" if cut.endswith((" ", "\n")) else "... "
    return cut, joint + rng.choice(LOST_THREAD)


def label(rng: random.Random) -> str:
    """What another speaker may have put before a reply that is ours to finish."""
    return rng.choice(["[server 1] ", f"[server {rng.randint(2, 40)}] ", "Mia: ", "*smiles* ", "Oh! ", "Well, "])


def roughen(way: str, rng: random.Random) -> str:
    """The same thing as people type it: no capitals, no full stop, a name, a number, a tail, a slip of the finger."""
    text = way
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.3:
        text = text.rstrip("?!.") if len(text) > 3 else text
    elif text[-1:].isalpha() and rng.random() < 0.5:
        text += rng.choice([".", "!", "..."])
    if rng.random() < 0.12:
        text = rng.choice(["Hey, ", "Well, ", "So, ", "Please, ", "Mia, ", "Okay, ", "[Platform: Discord] "]) + text
    if rng.random() < 0.12:
        text += rng.choice([" please", " now", " :)", " <3", " 😀", ", friend", " again", f" {rng.randint(1, 9999)}"])
    elif rng.random() < 0.08:
        text += f", {_word(rng)} {rng.choice(_NOUNS)} number {rng.randint(1, 99999)}"
    if rng.random() < 0.06 and len(text) > 6:
        at = rng.randrange(1, len(text) - 1)
        text = text[:at] + text[at + 1 :]
    return text


def persona(rng: random.Random) -> str:
    """A system message: none, a short one, or a long card with anything in it."""
    roll = rng.random()
    if roll < 0.3:
        return ""
    lines = rng.sample(PERSONAS, rng.randint(1, 3))
    if roll > 0.85:
        lines += [_fill(rng.choice(_STATEMENTS), rng) for _ in range(rng.randint(5, 40))]
    return rng.choice(["\n", " ", "\n\n"]).join(lines)
