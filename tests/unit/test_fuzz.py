"""A short run of every fuzzer, and every input that failed once. The long run: ``python -m tests.fuzz``."""

from __future__ import annotations

import base64

import pytest

from tests.fuzz import run
from tests.fuzz.run import KEPT, Report, check, fuzz, made
from tests.fuzz.targets import TARGETS, Target

INPUTS = 300
MOST_SECONDS = 3 * run.MOST_SECONDS
"""Any machine may run the tests; the long run is for one whose speed is known."""


def kept() -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {name: [] for name in TARGETS}
    for line in KEPT.read_text(encoding="ascii").splitlines():
        if line and not line.startswith("#"):
            name, _, data = line.partition(" ")
            found[name].append(base64.b64decode(data))
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_does_more_than_a_reader_documents(name: str) -> None:
    report = fuzz(TARGETS[name], 2, INPUTS, MOST_SECONDS)
    assert report.wrong == {}, report.line


@pytest.mark.parametrize("name", TARGETS)
def test_what_failed_once_does_not_fail_again(name: str) -> None:
    target, report = TARGETS[name], Report(name, MOST_SECONDS)
    with target.reader() as prepare:
        for data in kept()[name]:
            check(target, prepare, data, report)
    assert report.wrong == {}, report.line


def test_an_input_follows_from_its_number() -> None:
    for target in TARGETS.values():
        assert [made(target, 3, number) for number in range(20)] == [made(target, 3, number) for number in range(20)]


@pytest.mark.parametrize(("wrong", "told"), [("raise", "KeyError: 'x'"), ("wait", "slow: over 50 ms")])
def test_what_a_reader_does_wrong_is_told(wrong: str, told: str) -> None:
    """Else the runs above would pass whatever happens."""

    def read() -> None:
        if wrong == "raise":
            raise KeyError("x")
        sum(range(6_000_000))

    gguf = TARGETS["gguf"]
    bad = Target("bad", gguf.seeds, gguf.shape, gguf.reader, (ValueError,))
    report = Report("bad")
    check(bad, lambda data: read, b"12345", report)
    (problem,) = report.wrong
    assert problem.startswith(told) and report.examples[problem] == b"12345"
