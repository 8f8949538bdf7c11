"""Replies that are failures though nothing on the wire says so: apologies, and sentences that just stop."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from zwaif_hooks.truth import APOLOGIES, could_be_an_apology, is_an_apology, is_cut_to_nothing, looks_unfinished

TALK = Path(__file__).parents[2] / "tools" / "tiny_model" / "talk.txt"
REPLIES = [line[2:].strip() for line in TALK.read_text(encoding="utf-8").splitlines() if line.startswith("> ")]
LABELLED = 500
SHORT = [s for reply in REPLIES for s in re.split(r"(?<=[.!?]) ", reply) if len(s.split()) < 6]
"""What she says in less than six words."""
HABIT = 3
"""So many short ones among what she said last."""
CASUAL = (
    """Sure thing|Hi there|On my way|Be right back|Of course I will|What for|Guess who|Sort of|Plan A|Oh my|You bet
No way|See you later|Good night sweet dreams|Yes I would|So am I|Not that I know of|Which one is it for|Love you more
Me too|Anything but|Are you coming or|As if|Let me in|It is what it is|I wish you were|Nice to meet you too|Wait, what
Thank you so much|Good morning|Just five more minutes|Vitamin A|Talk to you soon|Never better|All of them
""".replace("\n", "|")
    .strip("|")
    .split("|")
)
"""How people who put no full stop say short things."""


def whole_replies(rng: random.Random) -> list[str]:
    """One to three of the companion's replies, as one."""
    return [" ".join(rng.sample(REPLIES, rng.randint(1, 3))) for _ in range(LABELLED)]


def test_whole_replies_are_believed() -> None:
    rng = random.Random(11)
    alarms = sum(looks_unfinished(reply, rng.sample(REPLIES, 8), ("###",)) for reply in whole_replies(rng))
    assert alarms <= 0.01 * LABELLED


def test_replies_that_stop_in_the_middle_are_noticed() -> None:
    """Cut where a server that runs out of memory cuts: after some token, inside a sentence, past the sixth word."""
    rng = random.Random(12)
    noticed = total = 0
    for reply in whole_replies(rng):
        inside = [at for at in range(len(reply)) if len(reply[:at].split()) >= 6 and reply[at - 1] not in ".!?…"]
        if not inside:
            continue
        total += 1
        noticed += looks_unfinished(reply[: rng.choice(inside)], rng.sample(REPLIES, 8), ("###",))
    assert total > 300
    assert noticed >= 0.95 * total


def what_she_said(rng: random.Random) -> list[str]:
    return rng.sample(SHORT, HABIT) + rng.sample(REPLIES, 5)


def test_whole_short_replies_are_believed() -> None:
    rng = random.Random(13)
    alarms = sum(looks_unfinished(rng.choice(SHORT), what_she_said(rng), ("###",)) for _ in range(LABELLED))
    assert alarms <= 0.01 * LABELLED


def test_short_replies_that_stop_in_the_middle_are_noticed_of_one_who_always_ends_them() -> None:
    """Of four and five words; fewer are a way of talking."""
    rng = random.Random(14)
    noticed = total = 0
    for reply in whole_replies(rng):
        inside = [at for at in range(len(reply)) if len(reply[:at].split()) in (4, 5) and reply[at - 1] not in ".!?…"]
        if not inside:
            continue
        total += 1
        noticed += looks_unfinished(reply[: rng.choice(inside)], what_she_said(rng), ("###",))
    assert total > 300
    assert noticed >= 0.95 * total


def test_a_short_reply_in_the_middle_of_a_sentence() -> None:
    torn = "The primary brain is answering"
    assert looks_unfinished(torn, [*SHORT[:HABIT], *REPLIES[:5]], ("###",))
    assert not looks_unfinished(torn, REPLIES[:8], ("###",)), "who knows how she ends a short one"
    assert not looks_unfinished(torn, [*SHORT[:HABIT], *REPLIES[:5], "see you"], ("###",))


@pytest.mark.parametrize("torn", ["I went to the", "This is my", "Then I took a", "You and I and", "Oh my dear,"])
def test_a_short_reply_may_end_with_what_ends_no_sentence(torn: str) -> None:
    assert looks_unfinished(torn, [], ())
    assert not looks_unfinished(torn, [], ("\n",))


@pytest.mark.parametrize("casual", CASUAL)
def test_a_way_of_talking_is_no_torn_sentence(casual: str) -> None:
    assert not looks_unfinished(casual, [], ())
    assert not looks_unfinished(casual, REPLIES[:8], ())
    assert not looks_unfinished(casual, CASUAL[:8], ())
    if len(casual.split()) < 4:
        assert not looks_unfinished(casual, [*SHORT[:HABIT], *REPLIES[:5]], ())


def test_a_word_where_hundreds_were_asked_for_is_no_reply() -> None:
    assert is_cut_to_nothing("The", 300)
    assert is_cut_to_nothing("Oh, I", 16)
    assert not is_cut_to_nothing("The", 1)
    assert not is_cut_to_nothing("The", 0), "nobody said how many"
    assert not is_cut_to_nothing("The first three words", 300)


def test_one_who_never_puts_a_full_stop_is_believed() -> None:
    casual = ["hey you", "i missed you a lot today", "tell me about your day", "sounds fun", "let us do that soon"]
    assert not looks_unfinished("i was just thinking about you and here you come", casual, ())
    assert looks_unfinished("i was just thinking about you and the", casual, ()), "nothing ends with an article"


@pytest.mark.parametrize("stop", ["\n", "*"])
def test_a_stop_string_that_cuts_sentences_explains_the_end(stop: str) -> None:
    assert not looks_unfinished("I would love to go there and see the", REPLIES[:8], ("###", stop))


def test_short_replies_and_strangers_are_left_alone() -> None:
    assert not looks_unfinished("ok then", REPLIES[:8], ())
    assert not looks_unfinished("We could go to the lake and swim a while", [], ())
    assert not looks_unfinished("", REPLIES[:8], ())


@pytest.mark.parametrize("apology", APOLOGIES)
def test_known_apologies_are_failures(apology: str) -> None:
    assert is_an_apology(f"{apology} 500).")
    assert all(could_be_an_apology(apology[:size]) for size in range(1, len(apology) + 1))


@pytest.mark.parametrize(
    "honest", ["Sorry, I'm late.", "I apologize, but I ate it all.", "", "Error 404 is my favorite joke."]
)
def test_an_honest_sorry_is_a_reply(honest: str) -> None:
    assert not is_an_apology(honest)


def test_a_long_text_that_begins_like_an_apology_has_more_to_say() -> None:
    story = "Sorry, I'm having connection issues right now, said the robot, and " + "on and on it went. " * 10
    assert not is_an_apology(story)
    assert not could_be_an_apology(story)
