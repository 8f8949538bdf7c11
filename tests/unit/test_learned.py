"""The first-token deadline that is learned from what a primary needed before."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from zwaif_hooks.learned import COLD_AFTER, ENOUGH, SHORTEST, FirstTokenHistory

SETTING = 15.0


class StillClock:
    def __init__(self) -> None:
        self.time = 0.0

    def now(self) -> float:
        return self.time

    def wait(self, condition: threading.Condition, predicate: Callable[[], bool], timeout: float) -> bool:
        raise AssertionError("nothing here waits")


def history(*seen: tuple[int, float]) -> tuple[FirstTokenHistory, StillClock]:
    clock = StillClock()
    made = FirstTokenHistory(clock)
    for chars, seconds in seen:
        made.observe(chars, seconds)
    return made, clock


def test_until_enough_was_seen_the_setting_counts() -> None:
    made, _ = history(*[(1000, 0.1)] * (ENOUGH - 1))
    assert made.deadline(1000, SETTING) == SETTING


def test_a_quick_server_is_given_less() -> None:
    made, _ = history(*[(1000, 0.1)] * ENOUGH)
    assert made.deadline(1000, SETTING) == SHORTEST


def test_a_longer_prompt_is_given_longer() -> None:
    made, _ = history(*[(1000, 1.0)] * ENOUGH)
    assert made.deadline(1000, SETTING) == 4.0
    assert made.deadline(2000, SETTING) == 8.0
    assert made.deadline(500, SETTING) == 4.0


def test_never_more_than_the_setting() -> None:
    made, _ = history(*[(1000, 30.0)] * ENOUGH)
    assert made.deadline(1000, SETTING) == SETTING


def test_after_a_long_pause_the_model_may_have_to_be_loaded_again() -> None:
    made, clock = history(*[(1000, 0.1)] * ENOUGH)
    clock.time += COLD_AFTER + 1
    assert made.deadline(1000, SETTING) == SETTING


def test_slow_but_living_replies_are_hardly_ever_suspected() -> None:
    """10,000 first tokens of a server with a long-tailed delay and growing prompts: at most one in a thousand."""
    rng = random.Random(7)
    made, clock = history()
    suspected = 0
    chars = 500
    for _ in range(10_000):
        chars = 500 if chars > 12_000 else chars + 200
        seconds = 0.2 + chars / 4000 * rng.lognormvariate(0.0, 0.35)
        clock.time += 20
        suspected += seconds > made.deadline(chars, SETTING)
        made.observe(chars, seconds)
    assert suspected <= 10
