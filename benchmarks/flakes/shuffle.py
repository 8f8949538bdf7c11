"""A pytest plugin: order, jitter and thread switches from the seed in ``FLAKES_SEED``."""

from __future__ import annotations

import os
import random
import sys

import pytest

SWITCH_SECONDS = (1e-5, 2e-2)
"""How long a thread may run before another gets its turn; Python's default is 5e-3."""

_seed = int(os.environ.get("FLAKES_SEED", "0"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    random.Random(_seed).shuffle(items)


def pytest_runtest_setup(item: pytest.Item) -> None:
    dice = random.Random(f"{_seed} {item.nodeid}")
    random.seed(dice.random())
    low, high = SWITCH_SECONDS
    sys.setswitchinterval(low * (high / low) ** dice.random())
