"""When a sentence counts as ended: at the space after its stop mark, or in the silence after the stop mark."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zwaif_hooks.failover.spoken_sentences import DOUBTFUL_SECONDS, QUIET_SECONDS, SpokenSentences
from zwaif_hooks.messages import ChatRequest, Message
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.specs import hookimpl

LOOK = 0.05
"""Seconds between two looks in the background."""


class Listening:
    """A turn, the sentences that a plugin was told, and a clock that stands still between two looks."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.seconds = 100.0
        plugins = PluginManager(lambda line, _: None)
        assert plugins.register(self, "listener")
        runtime = SimpleNamespace(plugins=plugins, clock=SimpleNamespace(now=lambda: self.seconds))
        request = ChatRequest("oobabooga", (Message("user", "Hi"),))
        self._sentences = SpokenSentences(runtime, lambda: request, str)  # type: ignore[arg-type]

    @hookimpl
    def sentence_spoken(self, text: str) -> None:
        self.told.append(text)

    def hear(self, piece: str, then_silence: float = 0.0) -> list[str]:
        """Return what is told of a piece within ``then_silence`` seconds."""
        before = len(self.told)
        self._sentences.heard(piece, "model")
        end = self.seconds + then_silence
        self._sentences.look()
        while self.seconds < end:
            self.seconds += LOOK
            self._sentences.look()
        return self.told[before:]

    def end(self) -> list[str]:
        """Return all that was told."""
        self._sentences.end()
        self._sentences.look()
        return self.told


@pytest.fixture
def listening() -> Listening:
    return Listening()


def test_pieces_that_are_whole_sentences_are_told_before_the_next_one_comes(listening: Listening) -> None:
    """As the local model's pieces: the space is at the beginning of the next one."""
    soon = QUIET_SECONDS + 2 * LOOK
    assert listening.hear("The first.", soon) == ["The first."]
    assert listening.hear(' "The second!"', soon) == ['"The second!"']
    assert listening.hear(" Number 3.", DOUBTFUL_SECONDS + 2 * LOOK) == ["Number 3."]
    assert listening.hear(" The last?") == []
    assert listening.end() == ["The first.", '"The second!"', "Number 3.", "The last?"]


def test_a_space_ends_a_sentence_at_once(listening: Listening) -> None:
    assert listening.hear("One. Two") == ["One."]


@pytest.mark.parametrize("pieces", [("It is 3.", "14"), ("So, e.", "g.", "this"), ("Half", " of it")])
def test_a_pause_cuts_no_number_no_abbreviation_and_no_half_sentence(
    listening: Listening, pieces: tuple[str, ...]
) -> None:
    for piece in pieces:
        assert listening.hear(piece, 0.5 * DOUBTFUL_SECONDS) == []
    assert listening.end() == ["".join(pieces)]


def test_a_slow_model_is_given_more_time_between_its_tokens(listening: Listening) -> None:
    for token in ("What", " is", " that", "?", "!"):
        assert listening.hear(token, 0.4) == []
    assert listening.hear("", 1.0) == ["What is that?!"]
