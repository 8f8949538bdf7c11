"""Runs of plugins outside Z-Waif, for ``plugins check``, ``try`` and ``trace``, and for ``chat``."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from zwaif_fallback.cli.chat_session import Answers, persona_of
from zwaif_fallback.engines.plugin_engine import factory_of
from zwaif_fallback.zwaif_tree import LoadedPlugins, load_plugins, settings_store
from zwaif_hooks.failover.outage_turn import OutageTurn
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.host_handle import Host
from zwaif_hooks.log import in_words
from zwaif_hooks.messages import Answer, AnswerRecord, ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure
from zwaif_hooks.plugins import PluginManager, PluginState, State
from zwaif_hooks.plugins.discovery import ALLOW_VARIABLE, BLOCK_VARIABLE, TRACE_VARIABLE, single_file
from zwaif_hooks.plugins.hook_table import HOOKS
from zwaif_hooks.runtime import Runtime
from zwaif_hooks.specs import hookimpl

ANSWERING = "on_primary_failure"
BUILT_IN = "fallback"
_FAILURE = PrimaryFailure(FailureKind.REFUSED, "connection refused by 127.0.0.1:5000 (made up by zwaif-fallback)")


@dataclass(frozen=True)
class Loaded:
    """Plugins that were loaded for a run, with their settings."""

    tree: Path | None
    store: SettingsStore
    plugins: LoadedPlugins

    @property
    def manager(self) -> PluginManager:
        return self.plugins.manager

    def runtime(self, say: Callable[[str], None]) -> Runtime:
        """Start the plugins, and return what their replies need. ``say`` gets one line for each problem."""
        primaries = PrimaryRegistry(lambda *_: None)
        folder = self.tree or Path.cwd()
        with redirect_stdout(sys.stderr):
            self.manager.start(Host(folder, self.store, primaries, self.manager))
        return Runtime(folder, self.store, self.manager, primaries, say, lambda line, error: say(line))


def load(
    tree: Path | None,
    folder: str | None,
    options: dict[str, str],
    prepare: Callable[[PluginManager], object] = lambda manager: None,
    tell: Callable[[str, BaseException | None], object] = lambda line, error: None,
    trace: Callable[[str], object] | None = None,
) -> Loaded:
    """Load plugins as ``zwaif_tree.load_plugins`` does, whose arguments these are."""
    store = settings_store(tree, os.environ)
    return Loaded(tree, store, load_plugins(store, os.environ, folder, options, prepare, tell, trace))


def only(name: str) -> dict[str, str]:
    """Return the options with which no plugin but one is loaded, whatever the user blocked."""
    return {ALLOW_VARIABLE: name, BLOCK_VARIABLE: "" if name == BUILT_IN else BUILT_IN}


def traced(blocked: str) -> dict[str, str]:
    """Return the options with which every hook call is reported, and the built-in plugin, a model, is not loaded."""
    return {TRACE_VARIABLE: "1", BLOCK_VARIABLE: ",".join(filter(None, (blocked, BUILT_IN)))}


# --- one reply --------------------------------------------------------------------------------------------------------


class Tried(NamedTuple):
    """What came of one request."""

    text: str
    record: AnswerRecord | None
    """Who answered; None if nobody did."""


def ask(loaded: Loaded, text: str, show: Callable[[str], None]) -> Tried:
    """Let the plugins answer a message as in an outage. Their own prints go to standard error."""
    request = ChatRequest(
        "oobabooga", (Message("user", text),), stream=True, persona=persona_of(loaded.tree), persona_in_messages=False
    )
    say, said = loaded.plugins.problems.append, ""
    with redirect_stdout(sys.stderr):
        turn = OutageTurn(loaded.runtime(say), loaded.manager.changed(request), _FAILURE)
        for piece in turn.texts():
            said += piece
            show(piece)
        _end(loaded.manager, turn, say)
    return Tried(said, turn.record)


class WithPlugins:
    """Answers as Z-Waif would: the plugins are asked in their order, and the built-in one is a ``service``."""

    def __init__(
        self,
        make: Callable[[PluginManager], Answers],
        tree: Path | None,
        folder: str | None,
        say: Callable[[str], None],
        trace: Callable[[str], None],
    ) -> None:
        """Load the plugins.

        Args:
            make: returns the service, which asks the plugins for chat formats and whether one of them will answer.
            say: gets one line for each problem.
            trace: gets the lines of the trace, if the user switched that on.
        """
        built_in = _BuiltIn()
        loaded = load(
            tree, folder, {}, lambda manager: manager.register(built_in, BUILT_IN), lambda line, _: say(line), trace
        )
        self._plugins = loaded.manager
        self._alone = self._plugins.names() == [BUILT_IN]
        self._runtime = loaded.runtime(say)
        self._say = say
        self._sent: ChatRequest | None = None
        self._turn: OutageTurn | None = None
        self._service = built_in.service = make(self._plugins)

    def answer(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        self._sent = request = self._plugins.changed(request)
        if self._alone:
            return self._service.answer(request, failure)
        self._turn = turn = OutageTurn(self._runtime, request, failure)
        answer = Answer(())
        answer.pieces = _heard(turn, answer)
        return answer

    def turn_over(self, request: ChatRequest, reply: str) -> None:
        self._service.turn_over(self._sent or request, reply)

    def close(self) -> None:
        """Call ``zwaif_stopping``, after all that the plugins are told of the last turn."""
        _end(self._plugins, self._turn, self._say)


def _heard(turn: OutageTurn, answer: Answer) -> Iterator[str]:
    for text in turn.texts():
        answer.answered_by = turn.answered_by
        yield text
    answer.answered_by = turn.answered_by


def _end(plugins: PluginManager, turn: OutageTurn | None, say: Callable[[str], object]) -> None:
    """End as Z-Waif does. The plugins hear of the last turn first, and each has as long as ``zwaif_stopping`` has."""
    seconds = HOOKS["zwaif_stopping"].seconds
    for name in turn.be_told(seconds) if turn is not None else ():
        say(f"{name} did not finish the calls about the last reply within {seconds:g} s")
    stopping = threading.Thread(target=plugins.hook.zwaif_stopping, daemon=True)
    stopping.start()
    stopping.join(seconds)
    if stopping.is_alive():
        plugins.name_unfinished("zwaif_stopping")


class _BuiltIn:
    service: Answers

    @hookimpl(trylast=True)
    def on_primary_failure(self, request: ChatRequest, failure: PrimaryFailure) -> Answer:
        answer = self.service.answer(request, failure)
        answer.keeps_time = True
        return answer


# --- what is wrong with one plugin ------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One finding of ``plugins check``."""

    state: str
    """``ok``, ``warning`` or ``FAIL``."""
    about: str
    text: str


def findings(loaded: Loaded, name: str) -> Iterator[Row]:
    """Yield what was found out about a plugin that was loaded with ``only``."""
    state = next(one for one in loaded.manager.states() if one.name == name)
    yield Row("ok", "found", " ".join(part for part in (state.package, state.version, f"({state.module})") if part))
    if state.state in (State.BROKEN, State.LOADING) and not state.left_out:
        yield Row("FAIL", "import", state.why)
        return
    yield Row("ok", "import", "done")
    if state.hooks:
        yield Row("ok", "hooks", ", ".join(state.hooks))
    yield from (Row("FAIL", "hooks", line) for line in state.left_out)
    yield from (Row("warning", "types", line) for line in state.doubts)
    yield from _settings(loaded, state)
    yield from _format(loaded, state)
    yield from _engines(loaded, name)


def _settings(loaded: Loaded, state: PluginState) -> Iterator[Row]:
    if "register_settings" not in state.hooks:
        return
    if state.paused:
        yield Row("FAIL", "settings", state.why)
        return
    yield from (
        Row("FAIL", "settings", line.removeprefix(f"Plugin {state.name!r}: ")) for line in loaded.store.left_out()
    )
    names = [setting.name for setting in loaded.store.table if setting.plugin == state.name]
    if names:
        yield Row("ok", "settings", ", ".join(names))
    problems = [line for line in loaded.store.problems() if any(name in line for name in names)]
    yield from (Row("warning", "settings", line) for line in problems)


def _format(loaded: Loaded, state: PluginState) -> Iterator[Row]:
    """Try the plugin's chat format out, if it has one for the demo's model."""
    if "prompt_format" not in state.hooks:
        return
    problems = loaded.plugins.problems
    told = len(problems)
    found = list(loaded.manager.prompt_formats(ModelInfo("demo", "tinyllama", 2048)))
    guard = loaded.manager.guard_of(state.name, "prompt_format")
    if guard is not None and guard.why:
        yield Row("FAIL", "prompt_format", guard.why)
    elif not found:
        yield Row("ok", "prompt_format", "not tried: it has none for the demo's model")
    elif not problems[told:]:
        yield Row("ok", "prompt_format", "its prompts are complete")
    else:
        yield from (
            Row("warning", "prompt_format", line.removeprefix(f"Plugin {state.name!r}: ")) for line in problems[told:]
        )


def _engines(loaded: Loaded, name: str) -> Iterator[Row]:
    """Yield each engine of a plugin, and whether the worker process will find it."""
    engines = [engine for plugin, engine in loaded.manager.engines() if plugin == name]
    guard = loaded.manager.guard_of(name, "register_engines")
    if guard is not None and guard.why:
        yield Row("FAIL", "engines", guard.why)
    for engine in engines:
        try:
            factory_of(engine.factory, single_file(name, engine.factory.partition(":")[0]))
        except Exception as error:
            yield Row("FAIL", "engines", f"{engine.name}: {engine.factory} cannot be imported: {in_words(error)}")
        else:
            models = ", ".join(model.name for model in engine.models) or "no models"
            yield Row("ok", "engines", f"{engine.name}: {models}")
