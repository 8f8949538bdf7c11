"""Rows that fail after some words."""

from __future__ import annotations

from zwaif_hooks.testing.fault_talk import WORDS, Talk


def polite_end_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.end()


def error_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.event({"error": "Compute error" if talk.ollama else {"message": "Compute error"}})
    talk.end()


def finished_in_the_middle(talk: Talk) -> None:
    """Out of memory in text-generation-webui: the reply just stops, and is called finished."""
    talk.open_stream()
    talk.say(["I was going to ", "tell you about ", "the"])
    talk.complete()


def comments_in_the_middle_for_ever(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.keep_pinging()


def cut_without_end(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.abort()


def empty_delta_then_end(talk: Talk) -> None:
    """Ollama's OpenAI endpoint when its runner dies: the error becomes an empty delta."""
    talk.open_stream()
    talk.say([*WORDS[:4], ""])
    talk.end()


def error_of_vllm_in_the_middle(talk: Talk) -> None:
    talk.open_stream()
    talk.say(WORDS[:4])
    talk.event({"object": "error", "message": "engine died", "code": 500})
    talk.end()


def piece_lost_in_the_middle(talk: Talk) -> None:
    """A damaged line that held text: the words behind it would leave a gap."""
    talk.open_stream()
    talk.say(WORDS[:4])
    start = '{"message": {"content": "' if talk.ollama else 'data: {"choices": [{"delta": {"content": "'
    talk.raw(start.encode() + b"in \n\n")
    talk.say(WORDS[5:])
    talk.complete()
