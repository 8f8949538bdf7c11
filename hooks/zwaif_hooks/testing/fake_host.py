"""A Z-Waif without Z-Waif: the real plugin manager and settings, and replies as during an outage."""

from __future__ import annotations

import difflib
import inspect
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zwaif_hooks import specs
from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.failover.outage_turn import OutageTurn
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.guard_settings import GUARD_SETTINGS
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.host_handle import Host
from zwaif_hooks.masking import masked
from zwaif_hooks.messages import AnswerRecord, ChatRequest, FailureKind, Message, Persona, PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.plugins.discovery import installed
from zwaif_hooks.plugins.hook_table import HOOKS, Kind
from zwaif_hooks.runtime import Runtime

PRIMARY = "127.0.0.1:5000"
HOOK_SECONDS = 30.0
"""How long ``FakeHost.call`` waits for hooks that run in threads of their own."""

_logger = logging.getLogger("zwaif")


@dataclass(frozen=True)
class Reply:
    """What Z-Waif got, and what the console said."""

    text: str
    """The whole reply, with what is appended to one that is too short or repeated; empty if nobody answered."""
    pieces: list[str]
    """The same in the pieces in which Z-Waif gets it: none holds more than one sentence."""
    errors: list[str]
    """Lines about faults of plugins, as a user sees them. Pytest shows their tracebacks when a test fails."""
    record: AnswerRecord | None
    """What ``fallback_answered`` was told; None if no plugin answered to the end."""


class FakeHost(Host):
    """The ``Host`` that hooks get, without a Z-Waif, a server, or any other plugin."""

    errors: list[str]
    """Every line about a fault so far."""
    _clock: Clock

    def __init__(
        self, settings: Mapping[str, object] | None = None, tree: Path | None = None, clock: Clock | None = None
    ) -> None:
        """Make a host.

        Args:
            settings: values as they would stand in ``.env``; True and False become ON and OFF. The real environment
                doesn't count.
            tree: Z-Waif's folder. Changed settings are saved in its ``.env``; without it they are kept in memory.
            clock: for example a :class:`~zwaif_hooks.testing.FakeClock`.
        """
        clock = clock or SystemClock()
        errors: list[str] = []
        env_path = tree / ".env" if tree is not None else None
        values = {name: _in_env(value) for name, value in (settings or {}).items()}
        super().__init__(
            tree or Path.cwd(),
            SettingsStore(GUARD_SETTINGS, env_path, values, errors.append),
            PrimaryRegistry(lambda *_: None, clock),
            PluginManager(partial(_report, errors), lambda name: "", clock),
        )
        vars(self).update(errors=errors, _clock=clock)

    def load(self, plugin: object, name: str = "") -> None:
        """Register a plugin and start it, as Z-Waif does: its settings first, then ``zwaif_started``.

        ``name``: the name of its entry point. If it is installed, that is found; otherwise it is the module's name
        without ``zwaif_``.
        """
        name = name or _name_of(plugin)
        if self.plugins.register(plugin, name, guarded=True):
            self.plugins.register_settings(self.settings, name)
            self.plugins.start(self, name)

    def ask(self, message: str | ChatRequest, failure: PrimaryFailure | None = None) -> Reply:
        """Return the reply to one message while the LLM server is down, with the deadlines of a real one."""
        told = len(self.errors)
        asked = self.plugins.changed(message if isinstance(message, ChatRequest) else request(message))
        say, report = self.errors.append, partial(_report, self.errors)
        runtime = Runtime(self.tree, self.settings, self.plugins, self.primaries, say, report, self._clock)
        turn = OutageTurn(runtime, asked, failure or refused())
        pieces = list(turn.texts())
        self._require_done("what was said", turn.be_told(HOOK_SECONDS))
        return Reply("".join(pieces), pieces, self.errors[told:], turn.record)

    def call(self, hook: str, **arguments: Any) -> Any:
        """Call a hook of all loaded plugins with its arguments, and return what Z-Waif would get.

        Raises:
            TypeError: there is no such hook, or its arguments are others.
            TimeoutError: a hook that only informs is still running after ``HOOK_SECONDS``.
        """
        _require_arguments(hook, arguments)
        result = getattr(self.plugins.hook, hook)(**arguments)
        if HOOKS[hook].kind is Kind.INFORMED:
            self._require_done(hook, self.plugins.catch_up(HOOK_SECONDS))
        return result

    @staticmethod
    def _require_done(what: str, late: list[str]) -> None:
        if late:
            raise TimeoutError(f"{what} was not taken within {HOOK_SECONDS:g} s by {', '.join(late)}")


def ask(
    plugin: object, message: str | ChatRequest, failure: PrimaryFailure | None = None, host: FakeHost | None = None
) -> Reply:
    """Return a plugin's reply to one message while the LLM server is down.

    Args:
        plugin: the module, or the object, that its entry point names.
        message: what the user says, or a whole :func:`request`.
        failure: how the server failed; by default nothing listens at its address.
        host: with settings or a clock of your own.
    """
    host = host or FakeHost()
    before = len(host.errors)
    host.load(plugin)
    reply = host.ask(message, failure)
    return Reply(reply.text, reply.pieces, host.errors[before:], reply.record)


def request(message: str, **fields: Any) -> ChatRequest:
    """Return a request of Z-Waif's with one message of the user. ``fields``: other fields of ``ChatRequest``."""
    usual: dict[str, Any] = {"stream": True, "primary": PRIMARY, "persona": Persona("Mia", "You")}
    return ChatRequest(**{"backend": "oobabooga", "messages": (Message("user", message),), **usual, **fields})


def refused() -> PrimaryFailure:
    """Return the failure of a server that is not running."""
    return PrimaryFailure(FailureKind.REFUSED, f"connection refused by {PRIMARY}")


def cut(delivered: str) -> PrimaryFailure:
    """Return the failure of a server whose reply broke off after ``delivered``."""
    return PrimaryFailure(FailureKind.CUT, f"{PRIMARY} closed the connection", delivered=delivered)


def _require_arguments(hook: str, arguments: Mapping[str, object]) -> None:
    if hook not in HOOKS:
        near = difflib.get_close_matches(hook, HOOKS, n=1)
        raise TypeError(f"there is no hook {hook!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    expected = list(inspect.signature(getattr(specs, hook)).parameters)
    if set(arguments) != set(expected):
        takes, got = (", ".join(names) or "no arguments" for names in (expected, arguments))
        raise TypeError(f"{hook} takes {takes}; got {got}")


def _in_env(value: object) -> str:
    return {True: "ON", False: "OFF"}[value] if isinstance(value, bool) else str(value)


def _report(errors: list[str], line: str, error: BaseException | None) -> None:
    errors.append(masked(line))
    _logger.error(line, exc_info=error)


def _name_of(plugin: object) -> str:
    module = str(getattr(plugin, "__name__", type(plugin).__name__)).rpartition(".")[2]
    known = {found.module.partition(":")[0]: found.name for found in installed()}
    return known.get(str(getattr(plugin, "__name__", type(plugin).__module__)), module.removeprefix("zwaif_").lower())
