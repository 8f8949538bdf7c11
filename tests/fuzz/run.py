"""Runs inputs through a target and tells what it did to them that it must not."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.inputs import changed
from tests.fuzz.targets import Prepare, Target

MOST_SECONDS = 0.05
"""Of processor time for one input."""
KEPT = Path(__file__).with_name("kept.txt")
"""Inputs that failed once, made small: ``target base64`` on each line."""


@dataclass
class Report:
    target: str
    most_seconds: float = MOST_SECONDS
    inputs: int = 0
    slowest: float = 0.0
    """Seconds of processor time."""
    slowest_input: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    """What went wrong, and how often."""
    examples: dict[str, bytes] = field(default_factory=dict)
    """The shortest input of each kind."""

    def add(self, problem: str, data: bytes) -> None:
        self.wrong[problem] += 1
        if len(data) < len(self.examples.get(problem, data + b" ")):
            self.examples[problem] = data

    @property
    def line(self) -> str:
        wrong = sum(self.wrong.values())
        return (
            f"{self.target}: {self.inputs:,} inputs, {wrong} wrong, "
            f"slowest {self.slowest * 1000:.1f} ms (number {self.slowest_input})"
        )


def inputs(target: Target, seed: int, count: int) -> Iterator[bytes]:
    """One half changed from good ones, the other built to be hostile."""
    for number in range(count):
        yield made(target, seed, number)


def made(target: Target, seed: int, number: int) -> bytes:
    chance = random.Random(f"{target.name} {seed} {number}")
    if number % 2:
        return target.shape(chance)
    return changed(chance.choice(target.seeds), chance)


def fuzz(target: Target, seed: int, count: int, most_seconds: float = MOST_SECONDS) -> Report:
    report = Report(target.name, most_seconds)
    with target.reader() as prepare:
        for number, data in enumerate(inputs(target, seed, count)):
            check(target, prepare, data, report, number)
    return report


def check(target: Target, prepare: Prepare, data: bytes, report: Report, number: int = 0) -> None:
    """One input; one that seems slow is tried again, as a busy machine makes anything slow once."""
    report.inputs += 1
    seconds = _seconds(target, prepare, data, report)
    for _ in range(2):
        if seconds > report.most_seconds / 2:
            seconds = min(seconds, _seconds(target, prepare, data, Report(target.name)))
    if seconds > report.slowest:
        report.slowest, report.slowest_input = seconds, number
    if seconds > report.most_seconds:
        report.add(f"slow: over {report.most_seconds * 1000:.0f} ms", data)


def _seconds(target: Target, prepare: Prepare, data: bytes, report: Report) -> float:
    read = prepare(data)
    begun = time.process_time()
    try:
        read()
    except target.documented:
        pass
    except Exception as error:
        where = error.__traceback__
        while where is not None and where.tb_next is not None:
            where = where.tb_next
        place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where is not None else ""
        report.add(f"{type(error).__name__}: {str(error)[:80]} ({place})", data)
    return time.process_time() - begun
