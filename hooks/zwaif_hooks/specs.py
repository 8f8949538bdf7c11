"""The hooks: for each, when it runs, what it gets, what ``None`` means and whose result counts.

A plugin is a module (or object) whose functions are marked with ``@hookimpl``; a function may take fewer arguments than
listed here. Plugins are found by entry points in the group ``zwaif``. Implementations run last-registered first, unless
marked ``tryfirst`` or ``trylast``. One that raises or returns something unusable is reported by name, and the next is
asked. Where the results of all are collected, they stand in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, Message, ModelInfo, PrimaryFailure, PromptFormat

if TYPE_CHECKING:
    from zwaif_hooks.engines import EngineSpec
    from zwaif_hooks.host.setting import Setting
    from zwaif_hooks.host_handle import Host
    from zwaif_hooks.turn_log import TurnRecord

PROJECT = "zwaif"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Every(Protocol):
    """Makes a part of the page live: the argument ``every`` of ``register_settings_ui``."""

    def __call__(self, seconds: float, function: Callable[[], Any], outputs: Any) -> None:
        """Call ``function`` every ``seconds`` while the place that is open now is visible in a window.

        Args:
            seconds: At least 1; rounded up to whole seconds.
            function: Returns the new value; a tuple with one for each, if there are several ``outputs``. None leaves
                them as they are. Runs in a background thread and has five seconds. One call runs at a time, however
                many windows are open.
            outputs: One component, or a list of components.
        """


@hookspec
def zwaif_started(host: Host) -> None:
    """Z-Waif is up: its modules are imported and its ``.env`` is loaded.

    Runs once, in a background thread, so slow work is allowed. All implementations run.
    """


@hookspec(firstresult=True)
def on_primary_failure(request: ChatRequest, failure: PrimaryFailure) -> str | Iterable[str] | Answer | None:
    """Answer a request that the primary LLM server could not answer.

    Runs in a background thread when a request failed, or was not sent because the server is down. Also runs while the
    primary is only late and may still answer first (then the pieces are closed), and when a stream broke off; then
    ``failure.delivered`` is what Z-Waif already has. Return the reply as a string, as an iterable of pieces (spoken
    sentence by sentence while you make them), or as an :class:`~zwaif_hooks.messages.Answer`. If something was
    delivered, return the text that follows it.

    ``None`` or a reply without text means "not me": the next plugin is asked. The first answer wins. A plugin that
    raises in the middle of its answer is followed by the next, which gets the longer ``delivered``; without one, the
    reply ends there. If nobody answers, Z-Waif sees the primary's own failure.
    """


@hookspec(firstresult=True)
def say_while_waiting(request: ChatRequest, failure: PrimaryFailure) -> str | None:
    """Return a short line to say while an answer is awaited.

    Runs at most once a reply, in a background thread, when no reply has begun for ``API_FALLBACK_SILENCE_LIMIT``
    seconds; never once the server or a plugin has begun one. The first line wins; ``None`` means that there is none.
    The answer follows it if it starts within the same time again; otherwise the line is the whole reply. Return at
    once.
    """


@hookspec(firstresult=True)
def prompt_format(model: ModelInfo) -> PromptFormat | None:
    """Return the chat format of a local model: how its prompts are written, and what ends its replies.

    Runs for every prompt of a local model. The format is used for everything: the conversation is fitted to the context
    window in it, its markers are escaped in what people write, and the reply ends at its ``stops`` or at those of the
    model. The prompt is given to the model unchanged, without added special tokens. ``None`` means "not mine"; the
    first format wins. The built-in implementation runs last: the tokenizer's own chat template, or the family's format.
    """


@hookspec(firstresult=True)
def format_prompt(messages: Sequence[Message], model: ModelInfo, partial: str) -> str | None:
    """Write the prompt for a local model, where the model's own markers end a reply.

    The same as the ``render`` of a ``PromptFormat`` without ``stops``, and asked after all ``prompt_format``. The
    result must end with ``partial``. ``None`` means "not mine"; the first string wins.
    """


@hookspec
def register_settings() -> Setting | Iterable[Setting] | None:
    """Return the plugin's settings.

    Runs when the plugin is loaded, before every other hook, and also in commands, where no Z-Waif runs: so it gets no
    ``host``. All implementations run. A setting that is not allowed is left out and reported with the plugin's name.
    """


@hookspec
def register_engines() -> EngineSpec | Iterable[EngineSpec] | None:
    """Return the plugin's own engines for local models, each with the models that it can load now.

    Runs each time the models on this computer are listed or one is looked up by name, and also in commands, where no
    Z-Waif runs: so it gets no ``host``. All implementations run. Of two engines with the
    same name the first stays, and the other is reported.
    """


@hookspec
def before_request(request: ChatRequest) -> ChatRequest | None:
    """Change a request before it is sent to the primary.

    Runs for each request of Z-Waif, also during an outage, while Z-Waif waits. Return ``dataclasses.replace(request,
    …)`` with other ``messages``, ``max_tokens``, ``stop``, ``sampling`` or ``model``; other fields are ignored, except
    ``persona``, which only a fallback sees. ``None`` means "unchanged": the request is then sent exactly as Z-Waif made
    it. All implementations run, each with the request as the one before it left it. One that fails or needs more than
    half a second changes nothing.
    """


@hookspec
def will_answer(request: ChatRequest | None, failure: PrimaryFailure | None) -> bool | None:
    """Return True if this plugin is going to answer, so that no local model is loaded ahead of time.

    Runs in a background thread before a local model would be loaded although no reply needs it yet. ``request`` is the
    request that the primary has not answered yet; None means any request. ``failure`` is None while nothing has failed.
    All implementations run; one True is enough. If no plugin answers after all, the local model is loaded then.
    """


@hookspec
def sentence_spoken(text: str, by: str, request: ChatRequest) -> None:
    """Z-Waif has got one more sentence of a reply.

    ``by`` is ``primary``, the name of the plugin that ended the sentence, or ``a line said while waiting``. Sentences
    come in order, within 0.1 s after the space that follows them, or a moment later if the reply pauses there.
    """


@hookspec
def turn_finished(record: TurnRecord) -> None:
    """A reply is over. Runs once a turn, whoever answered, also if nobody did, after the last ``sentence_spoken``."""


@hookspec
def register_settings_ui(gradio: Any, host: Host, page: Any, tab: Any, every: Every) -> None:
    """Add a section to Z-Waif's Settings tab.

    Runs once, after Z-Waif has built its page and before the page is served, with the tab open: components created with
    ``gradio`` (the module Z-Waif uses) are added at its end. ``page`` is the ``gradio.Blocks`` and ``tab`` the open
    ``gradio.Tab``, for events such as ``page.load`` and ``tab.select``; ``every`` makes a part live. All
    implementations run; the section of one that raises is removed again.
    """


@hookspec
def fallback_answered(record: AnswerRecord) -> None:
    """A plugin's reply was read to its end. Runs after each one, but not if the primary answered first after all."""


@hookspec
def primary_answered(primary: str, describe: Callable[[], ChatRequest], reply: str) -> None:
    """The primary gave a whole reply itself.

    Runs after each one. ``describe`` returns the request; call it at most once and do not keep it, because it holds the
    request in memory. ``primary`` is ``host:port``.
    """


@hookspec
def primary_late(primary: str, describe: Callable[[], ChatRequest], delivered: str) -> None:
    """The primary has been silent for half of the time after which it is given up, and longer than usual.

    Runs at most once a reply. Time to get ready at little cost: most likely the primary will still answer and is only
    busy, perhaps on this very machine. ``describe`` is as in ``primary_answered``; ``delivered`` is the text of the
    reply that Z-Waif already has.
    """


@hookspec
def primary_failed(primary: str, failure: PrimaryFailure) -> None:
    """An outage began. Runs once an outage, not for each message. ``primary`` is ``host:port``."""


@hookspec
def primary_recovered(primary: str, outage_seconds: float) -> None:
    """The primary generates again and gets the next request. Runs once at the end of each outage."""


@hookspec
def zwaif_stopping() -> None:
    """Z-Waif ends in an orderly way: its main thread returned, raised, or called ``sys.exit``.

    Runs once, if ``zwaif_started`` ran before. All implementations run; Z-Waif waits for two seconds at most. Not
    called if the process is killed or its console window is closed.
    """
