"""The hooks. One function each: when it runs, what it gets, what ``None`` means, who wins.

A plugin is a module (or object) whose functions carry ``@hookimpl``; it may take fewer arguments than listed here. It
is found through an entry point in the group ``zwaif``. Implementations run last-registered first, unless marked
``tryfirst`` or ``trylast``. One that raises or returns something unusable is reported by name and the next is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, Message, ModelInfo, PrimaryFailure

if TYPE_CHECKING:
    from zwaif_hooks.handle import Host

PROJECT = "zwaif"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def zwaif_started(host: Host) -> None:
    """Z-Waif is up: its modules are imported and its ``.env`` is loaded.

    Runs once, in a background thread of ours, so slow work is allowed here. All implementations run.
    """


@hookspec(firstresult=True)
def on_primary_failure(request: ChatRequest, failure: PrimaryFailure) -> str | Iterable[str] | Answer | None:
    """Answer a request that the primary LLM server could not.

    Runs in a thread of ours when a request failed or was not worth asking; also while the primary is only late and
    still has its chance (it may yet win: the pieces are closed then), and when a stream broke off, with what Z-Waif
    already has in ``failure.delivered``. Return the reply as a whole, as an
    iterable of pieces (spoken sentence by sentence while you make them), or as an
    :class:`~zwaif_hooks.messages.Answer`; when something was delivered, the text that follows it.

    ``None`` or a reply without text means "not me": the next plugin is asked. The first that answers wins. One that
    raises in the middle of its answer is followed by the next, which gets the longer ``delivered``. If nobody answers,
    Z-Waif sees the primary's own failure.
    """


@hookspec(firstresult=True)
def say_while_waiting(request: ChatRequest, failure: PrimaryFailure) -> str | None:
    """Give a short line to say while an answer is awaited.

    Runs at most once a reply, in a thread of ours, when no plugin has begun to answer for
    ``API_FALLBACK_SILENCE_LIMIT`` seconds. The first line wins; ``None`` means "nothing". The answer follows it
    if it begins within the same time again; otherwise the line is the whole reply. Return at once.
    """


@hookspec(firstresult=True)
def format_prompt(messages: Sequence[Message], model: ModelInfo, partial: str) -> str | None:
    """Write the prompt for a local model.

    Runs for every reply of a local model, after the conversation was fitted to its window, and again with less of it
    where the result is longer than the window allows. The result is fed to the model as it is, with no special token
    added, and must end with ``partial``: the beginning of the assistant's turn, often empty. ``None`` means "not mine";
    the first string wins. The built-in implementation goes last: the tokenizer's own chat template, else the format of
    the model's family.
    """


@hookspec
def register_settings_ui(gradio: Any, host: Host) -> None:
    """Add to Z-Waif's Settings tab.

    Runs once, after Z-Waif built its page and before it is served, with the tab open: components created with
    ``gradio`` (the module Z-Waif uses) land at its end. All implementations run; the part of one that raises is
    taken out again.
    """


@hookspec
def fallback_answered(record: AnswerRecord) -> None:
    """A reply by a plugin was heard to its end. Runs after each one, never where the primary spoke first after all."""


@hookspec
def primary_answered(primary: str, describe: Callable[[], ChatRequest], reply: str) -> None:
    """The primary gave a whole reply itself.

    Runs after each one. ``describe`` puts the request into words; call it once, and let go of it, as it holds the
    request. ``primary`` is ``host:port``.
    """


@hookspec
def primary_late(primary: str, describe: Callable[[], ChatRequest], delivered: str) -> None:
    """The primary has been silent for half of the time after which it is given up, and longer than is usual for it.

    Runs at most once a reply. A moment to get ready, at little cost: most likely the primary speaks yet, and is only
    busy, perhaps on this very machine. ``describe`` is as in ``primary_answered``; ``delivered`` is what Z-Waif has of
    the reply already.
    """


@hookspec
def primary_failed(primary: str, failure: PrimaryFailure) -> None:
    """An outage began. Runs once for each outage, not for each message. ``primary`` is ``host:port``."""


@hookspec
def primary_recovered(primary: str, outage_seconds: float) -> None:
    """The primary generates again and gets the next request. Runs once at the end of each outage."""
