"""How each hook is called: who waits for it, and how long. A new hook needs one line here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any, NamedTuple, get_args

from zwaif_hooks.engines import EngineSpec
from zwaif_hooks.host.setting import Setting
from zwaif_hooks.messages import Answer, ChatRequest, Message, Persona, PromptFormat, Role, Sampling

START_SECONDS = 5.0
"""How long a plugin may take to be imported, to start, or to build its section. Z-Waif's start waits for that."""
LIVE_SECONDS = 5.0
"""How long a function that updates a part of the page may take."""
FIRST_PAUSE = 30.0
"""Seconds for which a hook that failed is not called; twice as long after each further failure."""
LONGEST_PAUSE = 300.0


class Kind(Enum):
    """Who waits for a hook."""

    INFORMED = "informed"
    """Nobody: the calls of one plugin run in order, a moment later, in a thread of its own. A failure brings no
    pause."""
    AWAITED = "awaited"
    """The caller, until the deadline. The call runs in another thread, which costs some 20 µs."""
    INLINE = "inline"
    """The caller, to the end, in its own thread, for hooks that must cost next to nothing. One that was late is
    paused."""
    ANSWERS = "answers"
    """The user. ``failover.takeover`` calls it with the deadlines of a reply, and reports how it went."""
    BUILDS = "builds"
    """Z-Waif's start. ``PluginManager.builders`` calls it, because the open page is a context variable."""


class HookRule(NamedTuple):
    """How one hook is called."""

    kind: Kind
    seconds: float
    """After this time it is late, which is reported."""
    check: Callable[[Any, str], Any] | None = None
    """Returns the usable form of a result (never called with None); ``name`` is the plugin's. Raises what is wrong."""
    once: bool = False
    """It is called once in the life of Z-Waif."""


def text(result: Any, name: str) -> str:
    """Return ``result`` if it is text.

    Raises:
        TypeError: it is not.
    """
    if isinstance(result, str):
        return result
    raise TypeError(f"expected text or None, got {type(result).__name__}")


def yes_or_no(result: Any, name: str) -> bool:
    """Return ``result`` if it is a truth value.

    Raises:
        TypeError: it is not.
    """
    if isinstance(result, bool):
        return result
    raise TypeError(f"expected True, False or None, got {type(result).__name__}")


def answer(result: Any, name: str) -> Answer:
    """Return ``result`` as an ``Answer``.

    Raises:
        TypeError: it is neither text nor an iterable of text.
        ValueError: it is an empty text.
    """
    pieces = result.pieces if isinstance(result, Answer) else result
    if isinstance(pieces, (bytes, bytearray, dict)) or not isinstance(pieces, Iterable):
        expected = "Answer.pieces to be text or pieces of text" if pieces is not result else "text, pieces of text"
        raise TypeError(f"expected {expected}, Answer or None, got {type(pieces).__name__}")
    if isinstance(pieces, str) and not pieces.strip():
        raise ValueError("an empty reply; return None to pass")
    return result if isinstance(result, Answer) else Answer([result] if isinstance(result, str) else result, name)


def settings(result: Any, name: str) -> tuple[object, ...]:
    """Return ``result`` as a tuple. A generator runs here, where it is guarded. The store checks each one.

    Raises:
        TypeError: it is neither a setting nor an iterable.
    """
    if isinstance(result, Setting):
        return (result,)
    if isinstance(result, (str, bytes)) or not isinstance(result, Iterable):
        raise TypeError(f"expected settings or None, got {type(result).__name__}")
    return tuple(result)


def engines(result: Any, name: str) -> tuple[EngineSpec, ...]:
    """Return ``result`` as a tuple of engines. A generator runs here, where it is guarded.

    Raises:
        TypeError: it is neither an engine nor an iterable of engines.
    """
    found = (result,) if isinstance(result, EngineSpec) else tuple(result)
    for one in found:
        if not isinstance(one, EngineSpec):
            raise TypeError(f"expected an EngineSpec, got {type(one).__name__}")
    return found


def values(outputs: int, result: Any, name: str) -> Any:
    """Return ``result`` if it has a value for each of the components that it updates.

    Raises:
        TypeError: it is not a tuple or list of as many values.
    """
    if outputs == 1 or (isinstance(result, (tuple, list)) and len(result) == outputs):
        return result
    got = f"{len(result)}" if isinstance(result, (tuple, list)) else type(result).__name__
    raise TypeError(f"expected {outputs} values or None, got {got}")


def request(result: Any, name: str) -> ChatRequest:
    """Return ``result`` if it is a request that can be sent.

    Raises:
        TypeError: it is none, or a part of it has the wrong type.
        ValueError: it asks for nothing.
    """
    if not isinstance(result, ChatRequest):
        raise TypeError(f"expected a ChatRequest or None, got {type(result).__name__}")
    types: dict[str, Any] = {"max_tokens": int, "stop": (tuple, list), "sampling": Sampling, "model": str}
    for field, expected in {**types, "messages": (tuple, list), "persona": Persona}.items():
        if not isinstance(value := getattr(result, field), expected):
            raise TypeError(f"its {field} is {value!r:.80}")
    if not all(isinstance(text, str) for text in result.stop):
        raise TypeError(f"its stop is {result.stop!r:.80}")
    for message in result.messages:
        usable = isinstance(message, Message) and message.role in get_args(Role) and isinstance(message.content, str)
        if not usable:
            raise TypeError(f"one of its messages is {message!r:.80}")
    if not result.messages or result.max_tokens < 1:
        raise ValueError("it has no messages, or asks for no tokens")
    return result


def prompt_format(result: Any, name: str) -> PromptFormat:
    """Return ``result`` if it is a format.

    Raises:
        TypeError: it is not, or a part of it has the wrong type.
        ValueError: it would end every reply at once.
    """
    if not isinstance(result, PromptFormat):
        raise TypeError(f"expected a PromptFormat or None, got {type(result).__name__}")
    if not callable(result.render):
        raise TypeError(f"its render is {result.render!r:.80}")
    if not isinstance(result.stops, (tuple, list)) or not all(isinstance(stop, str) for stop in result.stops):
        raise TypeError(f"its stops are {result.stops!r:.80}; expected a tuple of texts")
    if not all(stop.strip() for stop in result.stops):
        raise ValueError("one of its stops is empty")
    return result


HOOKS: dict[str, HookRule] = {
    "zwaif_started": HookRule(Kind.AWAITED, START_SECONDS, once=True),
    "register_settings": HookRule(Kind.AWAITED, START_SECONDS, settings, once=True),
    "register_engines": HookRule(Kind.AWAITED, 2.0, engines),
    "register_settings_ui": HookRule(Kind.BUILDS, START_SECONDS),
    "on_primary_failure": HookRule(Kind.ANSWERS, 0.0, answer),
    "say_while_waiting": HookRule(Kind.AWAITED, 1.0, text),
    "prompt_format": HookRule(Kind.AWAITED, 2.0, prompt_format),
    "format_prompt": HookRule(Kind.AWAITED, 2.0, text),
    "before_request": HookRule(Kind.AWAITED, 0.5, request),
    "will_answer": HookRule(Kind.AWAITED, 0.5, yes_or_no),
    "sentence_spoken": HookRule(Kind.INFORMED, 30.0),
    "turn_finished": HookRule(Kind.INFORMED, 30.0),
    "fallback_answered": HookRule(Kind.INFORMED, 30.0),
    "primary_late": HookRule(Kind.INFORMED, 30.0),
    "primary_answered": HookRule(Kind.INFORMED, 30.0),
    "primary_failed": HookRule(Kind.INFORMED, 30.0),
    "primary_recovered": HookRule(Kind.INFORMED, 30.0),
    "zwaif_stopping": HookRule(Kind.INLINE, 2.0, once=True),
}
"""Each hook of ``specs``, in the order in which the manual describes them."""
