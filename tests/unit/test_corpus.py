"""A healthy server's words reach the user unchanged: the short form of ``python -m benchmarks.healthy.corpus``."""

from __future__ import annotations

import pytest

from benchmarks.healthy.corpus import ENDS, Script, run
from benchmarks.healthy.ways import WAYS, pieces, replies
from zwaif_hooks.reply.false_replies import is_blank

REPLIES = 100
"""Each of the twenty ways with each of the five ends."""


@pytest.mark.parametrize("client", ["requests", "ollama", "lmstudio"])
def test_nothing_is_changed_and_nothing_is_counted(client: str) -> None:
    pytest.importorskip(client)
    if client == "lmstudio":
        pytest.importorskip("wsproto")
    shown: list[str] = []
    result = run(REPLIES, (client,), shown.append)[client]
    assert shown == []
    assert (result["asked"], result["changed"], result["counts"]) == (2 * REPLIES, 0, {})


def test_the_corpus_has_what_it_says() -> None:
    assert len(WAYS) == 20
    made = list(replies(2000))
    assert {way for way, _ in made} == set(WAYS)
    assert len({reply for _, reply in made}) > 1500
    assert not any(is_blank(reply) for _, reply in made)
    assert all("".join(pieces(reply, number)) == reply for number, (_, reply) in enumerate(made))
    script = Script(REPLIES)
    assert {(number % 20, script.of(number)[1]) for number in range(REPLIES)} == {
        (way, end) for way in range(20) for end in ENDS
    }
