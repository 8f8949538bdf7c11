"""The plugin manager: finds plugins, isolates a faulty one from all others, and calls them in order."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any

import pluggy

from zwaif_hooks import specs
from zwaif_hooks.background.thread_cache import JobQueue, in_background, run_with_timeout
from zwaif_hooks.log import in_words
from zwaif_hooks.messages import Answer, ChatRequest, Message, ModelInfo, PrimaryFailure

if TYPE_CHECKING:
    from concurrent.futures import Future

    from zwaif_hooks.host_handle import Host

ENTRY_POINT_GROUP = "zwaif"
BLOCK_VARIABLE = "ZWAIF_BLOCK_PLUGINS"
TRACE_VARIABLE = "ZWAIF_TRACE_PLUGINS"
OURS = "zwaif_fallback."
"""The package's own plugin. It keeps its deadlines, so it needs no thread of its own."""
LINE_SECONDS = 1.0
"""How long a plugin may take for a line to say while an answer is awaited."""
PROMPT_SECONDS = 2.0
"""How long a plugin may take to format a prompt."""
START_SECONDS = 5.0
"""How long a plugin may take to be imported, to start, or to build its section. Z-Waif's start waits for that."""
INFORMED = frozenset({"primary_late", "primary_answered", "fallback_answered", "primary_failed", "primary_recovered"})
"""Hooks that only inform: called in order in a thread of the plugin's own."""
AWAITED = {"zwaif_started": START_SECONDS, "format_prompt": PROMPT_SECONDS}
"""Hooks that are waited for, and how long. ``on_primary_failure`` has the deadlines of a reply (``takeover``)."""

Report = Callable[[str, BaseException | None], None]


class PluginManager:
    """The plugins of one Z-Waif process.

    A plugin that cannot be loaded, registers a hook that does not exist, raises, or returns something unusable is
    reported by name in one line; the others continue as if it had returned ``None``.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self._host: Host | None = None
        self._pm = pluggy.PluginManager(specs.PROJECT)
        self._pm.add_hookspecs(specs)
        self._trace: Callable[[str], object] = bool
        if os.environ.get(TRACE_VARIABLE):
            self._trace = lambda text: report(f"[trace] {text}", None)
            self._pm.trace.root.setwriter(lambda text: report("[trace] " + text.rstrip(), None))
            self._pm.enable_tracing()

    @property
    def hook(self) -> Any:
        """Pluggy's own caller, for hooks whose implementations all run."""
        return self._pm.hook

    def names(self) -> list[str]:
        return [name for name, plugin in self._pm.list_name_plugin() if plugin is not None]

    def discover(self) -> None:
        """Register every plugin with an entry point in the group ``zwaif``.

        Plugins listed in ``ZWAIF_BLOCK_PLUGINS`` (comma-separated) are not imported. A plugin whose import takes longer
        than ``START_SECONDS`` joins when it is ready.
        """
        from importlib.metadata import entry_points

        blocked = {name.strip() for name in os.environ.get(BLOCK_VARIABLE, "").split(",")}
        for entry_point in entry_points(group=ENTRY_POINT_GROUP):
            if entry_point.name in blocked or self._pm.has_plugin(entry_point.name):
                continue
            if entry_point.value.startswith(OURS):
                self._join(entry_point.name, entry_point.load, guarded=False)
                continue
            loading = in_background(entry_point.load)
            try:
                loading.exception(START_SECONDS)
            except Exception:  # a timeout of the wait; an error of the import is reported by _join
                self._report(
                    f"Plugin {entry_point.name!r} was not imported within {START_SECONDS:g} s and is not waited for",
                    None,
                )
                loading.add_done_callback(partial(self._join_late, entry_point.name))
                continue
            self._join(entry_point.name, loading.result)

    def start(self, host: Host) -> None:
        """Tell every plugin that Z-Waif is up, also those that join later."""
        self._host = host
        self._pm.hook.zwaif_started(host=host)

    def register(self, plugin: object, name: str, guarded: bool = False) -> bool:
        """Add one plugin. Return False, and report it, if it does not match the specifications.

        ``guarded``: it may be slow or hang, so its hooks get threads and deadlines.
        """
        try:
            if self._pm.has_plugin(name) or self._pm.is_registered(plugin):
                raise ValueError("it is registered already")
            self._pm.register(plugin, name)
            self._refuse_wrappers(plugin)
        except Exception as error:
            if self._pm.get_plugin(name) is plugin:
                self._pm.unregister(name=name)
            self._report(f"Plugin {name!r} is left out: {in_words(error)}", error)
            return False
        for caller in self._pm.get_hookcallers(plugin) or ():
            self._check_spelling(caller, plugin, name)
        jobs = JobQueue(lambda: self._report(f"Plugin {name!r} is too slow and misses some calls", None))
        for hook, impl in self._implementations(plugin):
            impl.function = self._guarded(impl.function, name, hook)
            if guarded:
                impl.function = self._in_its_own_time(impl.function, name, hook, jobs)
        return True

    def _join(self, name: str, load: Callable[[], object], guarded: bool = True) -> bool:
        try:
            plugin = load()
        except BaseException as error:
            if _is_ctrl_c(error):
                raise
            self._report(f"Plugin {name!r} could not be loaded and is left out: {in_words(error)}", error)
            return False
        return self.register(plugin, name, guarded)

    def _join_late(self, name: str, loading: Future[object]) -> None:
        if not self._join(name, loading.result):
            return
        self._report(f"Plugin {name!r} is imported now and active", None)
        for impl in self._pm.hook.zwaif_started.get_hookimpls():
            if impl.plugin_name == name and self._host is not None:
                impl.function(*[self._host for _ in impl.argnames])

    def unregister(self, name: str) -> None:
        if self._pm.has_plugin(name):
            self._pm.unregister(name=name)

    def answerers(self) -> list[str]:
        """Return the names of the plugins that may answer a request, in the order in which they are asked."""
        return [impl.plugin_name for impl in self._answering()]

    def ask(self, name: str, request: ChatRequest, failure: PrimaryFailure) -> Answer | None:
        """Return the answer of one plugin; None if it does not want to answer, or is gone."""
        arguments = {"request": request, "failure": failure}
        for impl in self._answering():
            if impl.plugin_name == name:
                self._trace(f"on_primary_failure of {name} [hook]")
                answer: Answer | None = impl.function(*(arguments[name] for name in impl.argnames))
                return answer
        return None

    def answer(
        self, request: ChatRequest, failure: PrimaryFailure, skip: Sequence[str] = ()
    ) -> tuple[str, Answer] | None:
        """Ask all plugins except those in ``skip``, in this thread; None if nobody wants to answer."""
        for name in self.answerers():
            if name not in skip and (answer := self.ask(name, request, failure)) is not None:
                return name, answer
        return None

    def line_while_waiting(self, request: ChatRequest, failure: PrimaryFailure) -> str:
        """Return a short line to say while no answer has begun; empty if no plugin has one ready."""
        try:
            line = run_with_timeout(
                lambda: self._pm.hook.say_while_waiting(request=request, failure=failure), LINE_SECONDS
            )
        except TimeoutError:
            return ""
        return line.strip() if isinstance(line, str) else ""

    def format_prompt(
        self, messages: Sequence[Message], model: ModelInfo, partial: str, without: object = None
    ) -> str | None:
        """Return the first prompt that a plugin other than ``without`` writes."""
        hook = self._pm.subset_hook_caller("format_prompt", [without])
        written: str | None = hook(messages=messages, model=model, partial=partial)
        return written

    def builders(self, gradio: Any, host: Any) -> list[tuple[str, Callable[[], None]]]:
        """Return one function for each plugin with a section in the Settings tab, so that each can be undone alone."""
        found = []
        for impl in self._pm.hook.register_settings_ui.get_hookimpls():
            arguments = {"gradio": gradio, "host": host}
            call = _bound(_raw(impl.function), [arguments[name] for name in impl.argnames])
            found.append((impl.plugin_name, _built_in_time(call) if _is_timed(impl.function) else call))
        return found

    def _in_its_own_time(
        self, function: Callable[..., Any], name: str, hook: str, jobs: JobQueue
    ) -> Callable[..., Any]:
        def told(*args: Any) -> None:
            jobs.send(partial(function, *args))

        def awaited(*args: Any) -> Any:
            try:
                return run_with_timeout(partial(function, *args), AWAITED[hook])
            except TimeoutError:
                seconds = f"{AWAITED[hook]:g} s"
                self._report(f"Plugin {name!r} did not finish {hook} within {seconds} and is not waited for", None)
                return None

        timed = told if hook in INFORMED else awaited if hook in AWAITED else partial(function)
        timed.raw, timed.timed = _raw(function), True  # type: ignore[union-attr]
        return timed

    def _answering(self) -> list[Any]:
        """Return the implementations in the order of calls. Pluggy's own loop has no deadline for one plugin."""
        return self._pm.hook.on_primary_failure.get_hookimpls()[::-1]

    def _implementations(self, plugin: object) -> Iterator[tuple[str, Any]]:
        for caller in self._pm.get_hookcallers(plugin) or ():
            yield from ((caller.name, impl) for impl in caller.get_hookimpls() if impl.plugin is plugin)

    def _refuse_wrappers(self, plugin: object) -> None:
        """Refuse hook wrappers: one that raises would lose every other plugin's answer."""
        for hook, impl in self._implementations(plugin):
            if getattr(impl, "wrapper", False) or impl.hookwrapper:
                raise ValueError(f"its {hook} is a hook wrapper; use tryfirst or trylast instead")

    def _check_spelling(self, caller: Any, plugin: object, name: str) -> None:
        if caller.has_spec() or caller.name.startswith("_"):
            return
        if any(impl.plugin is plugin and not impl.optionalhook for impl in caller.get_hookimpls()):
            known = ", ".join(sorted(n for n in vars(specs) if hasattr(getattr(specs, n), f"{specs.PROJECT}_spec")))
            self._report(f"Plugin {name!r} has a hook {caller.name!r} that does not exist; there are: {known}", None)

    def _guarded(self, function: Callable[..., Any], name: str, hook: str) -> Callable[..., Any]:
        check = _CHECKS.get(hook)

        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                result = function(*args, **kwargs)
                return check(result, name) if check and result is not None else result
            except BaseException as error:
                if _is_ctrl_c(error):
                    raise
                self._report(f"Plugin {name!r} failed in {hook} and is skipped: {in_words(error)}", error)
                return None

        guarded.raw = function  # type: ignore[attr-defined]
        return guarded


def _is_timed(function: Any) -> bool:
    return getattr(function, "timed", False)


def _built_in_time(build: Callable[[], None]) -> Callable[[], None]:
    """Run ``build`` in a thread with this context: Gradio keeps what is being built in context variables."""

    def built() -> None:
        try:
            run_with_timeout(partial(copy_context().run, build), START_SECONDS)
        except Exception:
            raise
        except BaseException as error:  # not the user's Ctrl+C, which would be raised in this thread
            raise RuntimeError(f"{error!r}") from error

    return built


def _is_ctrl_c(error: BaseException) -> bool:
    """Return whether this is the user's Ctrl+C, which Python raises in the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def _raw(function: Any) -> Callable[..., Any]:
    raw: Callable[..., Any] = getattr(function, "raw", function)
    return raw


def _bound(function: Callable[..., Any], arguments: list[Any]) -> Callable[[], None]:
    return lambda: function(*arguments)


def _checked_answer(result: Any, name: str) -> Answer:
    """Return the result as an ``Answer``. Refuse anything that is not text or an iterable of text."""
    if isinstance(result, Answer):
        return result
    if isinstance(result, str):
        if not result.strip():
            raise ValueError("an empty reply; return None to pass")
        return Answer([result], name)
    if isinstance(result, Iterable) and not isinstance(result, (bytes, bytearray, dict)):
        return Answer(result, name)
    raise TypeError(f"expected text, pieces of text, Answer or None, got {type(result).__name__}")


def _checked_text(result: Any, name: str) -> str:
    if isinstance(result, str):
        return result
    raise TypeError(f"expected text or None, got {type(result).__name__}")


_CHECKS: dict[str, Callable[[Any, str], Any]] = {
    "on_primary_failure": _checked_answer,
    "format_prompt": _checked_text,
    "say_while_waiting": _checked_text,
}
