"""The plugin manager: registers plugins, calls their hooks, and knows how each plugin is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pluggy

from zwaif_hooks import specs
from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.background.plugin_threads import StillRunning, in_time
from zwaif_hooks.background.thread_cache import JobQueue, threads
from zwaif_hooks.host import live_part, setting
from zwaif_hooks.log import in_words
from zwaif_hooks.messages import Answer, ChatRequest, Message, ModelInfo, PluginProblem, PrimaryFailure, PromptFormat
from zwaif_hooks.plugins import checks
from zwaif_hooks.plugins.complaints import Complaints, Report
from zwaif_hooks.plugins.discovery import (
    ALLOW_VARIABLE,
    BLOCK_VARIABLE,
    FOLDER_VARIABLE,
    ORDER_VARIABLE,
    OURS,
    TRACE_VARIABLE,
    Found,
    Names,
    PluginFile,
    UnusableFolder,
    in_folder,
    installed,
)
from zwaif_hooks.plugins.guarded_format import GuardedFormat
from zwaif_hooks.plugins.guarded_hook import GuardedHook, is_ctrl_c
from zwaif_hooks.plugins.hook_table import HOOKS, LIVE_SECONDS, START_SECONDS, HookRule, Kind, values
from zwaif_hooks.plugins.state import PluginState, State
from zwaif_hooks.plugins.trace import traced

if TYPE_CHECKING:
    from zwaif_hooks.engines import EngineSpec
    from zwaif_hooks.host.settings_store import SettingsStore
    from zwaif_hooks.host_handle import Host

ANSWERING = "on_primary_failure"
BUILDING = "register_settings_ui"


def from_environment(name: str) -> str:
    """Return a variable of the environment; empty if it is not set."""
    return os.environ.get(name, "")


class PluginManager:
    """The plugins of one Z-Waif process.

    A plugin that cannot be loaded, registers a hook that does not exist, raises, is late, or returns something unusable
    is reported by name in one line; the others continue as if it had returned ``None``.
    """

    def __init__(
        self,
        report: Report,
        option: Callable[[str], str] = from_environment,
        clock: Clock | None = None,
        trace: Callable[[str], object] | None = None,
    ) -> None:
        """Make a manager without plugins.

        Args:
            report: tells the user one line.
            option: returns the text of ``ZWAIF_BLOCK_PLUGINS`` and the like; empty if it is not set.
            trace: gets the lines of the trace, if that is on; None: ``report`` does.
        """
        self._report = report
        self._option = option
        self._clock = clock or SystemClock()
        self._complaints = Complaints(report, self._clock)
        self._host: Host | None = None
        self._settings: SettingsStore | None = None
        self._pm = _Registry(specs.PROJECT)
        self._pm.add_hookspecs(specs)
        self._registering = threading.RLock()
        self._order = Names(ORDER_VARIABLE, option(ORDER_VARIABLE))
        self._found: dict[str, Found] = {}
        self._without: dict[str, PluginState] = {}
        """Plugins that are not registered."""
        self._left_out: dict[str, tuple[str, ...]] = {}
        self._doubts: dict[str, tuple[str, ...]] = {}
        self._trace = trace or (lambda line: report(line, None))
        self._tried_out: set[tuple[str, str]] = set()
        """Plugins whose format was tried out, each with the name of the model."""
        self._is_traced = setting.is_on(option(TRACE_VARIABLE))

    # --- finding and registering --------------------------------------------------------------------------------------

    def discover(self) -> None:
        """Register every plugin with an entry point in the group ``zwaif``, and every file in ``ZWAIF_PLUGINS_DIR``.

        Plugins listed in ``ZWAIF_BLOCK_PLUGINS`` (comma-separated) are not imported, and if ``ZWAIF_ALLOW_PLUGINS`` is
        set, only those it lists and the built-in one; those in ``ZWAIF_PLUGIN_ORDER`` are called before the others, in
        that order. A plugin whose import takes longer than ``START_SECONDS`` joins when it is ready.
        """
        blocked, allowed = (Names(each, self._option(each)) for each in (BLOCK_VARIABLE, ALLOW_VARIABLE))
        found: list[Found] = [*installed(), *self._files()]
        for names in (blocked, allowed, self._order):
            for line in names.unknown([one.name for one in found]):
                self._complaints.tell(line, line)
        for one in sorted(found, key=self._turn):
            if one.name in blocked:
                self._without[one.name] = _state(one, one.name, State.BLOCKED, f"listed in {BLOCK_VARIABLE}")
            elif allowed and one.name not in allowed and not one.is_ours:
                self._without[one.name] = _state(one, one.name, State.BLOCKED, f"not listed in {ALLOW_VARIABLE}")
            elif self._is_new(one):
                self._found[one.name] = one
                self._import(one)

    def register(self, plugin: object, name: str, guarded: bool = False) -> bool:
        """Add one plugin. Return False, and report it, if that is impossible. A hook that cannot be called is left out.

        ``guarded``: it may be slow, hang or go on failing, so its hooks get threads, deadlines and pauses.
        """
        try:
            with self._registering:
                self._add(plugin, name, guarded)
        except Exception as error:
            self._lose(name, f"is left out: {in_words(error)}", error)
            return False
        self._without.pop(name, None)
        return True

    def unregister(self, name: str) -> None:
        if self._pm.has_plugin(name):
            self._pm.unregister(name=name)

    def register_settings(self, settings: SettingsStore, only: str | None = None) -> None:
        """Add the settings of every plugin, also of those that join later; or of the one named ``only``."""
        self._settings = settings
        for impl in self._implementations("register_settings", only):
            settings.register(impl.plugin_name, self._call(impl) or ())

    def engines(self) -> list[tuple[str, EngineSpec]]:
        """Return the engines that plugins declare now, each with the plugin's name."""
        found: dict[str, tuple[str, EngineSpec]] = {}
        for impl in self._implementations("register_engines"):
            for engine in self._call(impl) or ():
                first, _ = found.setdefault(engine.name, (impl.plugin_name, engine))
                if first != impl.plugin_name:
                    line = f"Plugin {impl.plugin_name!r}: its engine {engine.name} is left out: {first!r} has one too"
                    self._complaints.tell(line, line)
        return list(found.values())

    def start(self, host: Host, only: str | None = None) -> None:
        """Tell every plugin that Z-Waif is up, also those that join later; or the one named ``only``."""
        self._host = host
        if only is None:
            self._pm.hook.zwaif_started(host=host)
            return
        for impl in self._implementations("zwaif_started", only):
            self._call(impl, host=host)

    # --- calling hooks ------------------------------------------------------------------------------------------------

    @property
    def hook(self) -> Any:
        """Pluggy's own caller, for hooks whose implementations all run, or whose first result counts."""
        return self._pm.hook

    def wants(self, hook: str) -> bool:
        """Return whether any plugin implements a hook. Takes a fraction of a microsecond."""
        return bool(getattr(self._pm.hook, hook).get_hookimpls())

    def changed(self, request: ChatRequest) -> ChatRequest:
        """Return a request as the plugins want it sent. Only what ``before_request`` may change is changed."""
        for impl in self._implementations("before_request"):
            wanted = self._call(impl, request=request)
            if wanted is not None:
                request = replace(
                    request,
                    messages=tuple(wanted.messages),
                    max_tokens=wanted.max_tokens,
                    stop=tuple(wanted.stop),
                    sampling=wanted.sampling,
                    model=wanted.model,
                    persona=wanted.persona,
                )
        return request

    def someone_will_answer(
        self, request: ChatRequest | None, failure: PrimaryFailure | None, without: object = None
    ) -> bool:
        """Return whether a plugin other than ``without`` says that it is going to answer."""
        hook = self._pm.subset_hook_caller("will_answer", [without])
        return any(said is True for said in hook(request=request, failure=failure))

    def answerers(self) -> list[str]:
        """Return the names of the plugins that may answer a request now, in the order in which they are asked."""
        return [impl.plugin_name for impl in self._implementations(ANSWERING) if not GuardedHook.of(impl).pause_left()]

    def ask(self, name: str, request: ChatRequest, failure: PrimaryFailure) -> Answer | None:
        """Return the answer of one plugin; None if it does not want to answer, or is gone."""
        for impl in self._implementations(ANSWERING, name):
            answer: Answer | None = self._call(impl, request=request, failure=failure)
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

    def guard_of(self, name: str, hook: str = ANSWERING) -> GuardedHook | None:
        """Return what guards one hook of one plugin; None if it is gone. ``failover`` tells it how an answer went."""
        return next((GuardedHook.of(impl) for impl in self._implementations(hook, name)), None)

    def tell(self, fault: object, line: str) -> None:
        """Report a plugin's fault in one line, at most once in ten minutes for each ``fault``."""
        self._complaints.tell(fault, line)

    def catch_up(self, seconds: float) -> list[str]:
        """Wait until the plugins have heard what they were told. Return those that are not done in ``seconds``."""
        end = time.monotonic() + seconds
        informed = [hook for hook, rule in HOOKS.items() if rule.kind is Kind.INFORMED]
        guards = {impl.plugin_name: GuardedHook.of(impl) for hook in informed for impl in self._implementations(hook)}
        return [name for name, guard in guards.items() if not guard.catch_up(max(0.0, end - time.monotonic()))]

    def name_unfinished(self, hook: str) -> None:
        """Report each plugin whose call of ``hook`` has not ended. It must be a hook of ``Kind.INLINE``."""
        for impl in self._implementations(hook):
            GuardedHook.of(impl).name_if_running()

    def line_while_waiting(self, request: ChatRequest, failure: PrimaryFailure) -> str:
        """Return a short line to say while no answer has begun; empty if no plugin has one ready."""
        line = self._pm.hook.say_while_waiting(request=request, failure=failure)
        return line.strip() if isinstance(line, str) else ""

    def prompt_formats(self, model: ModelInfo, without: object = None) -> Iterator[PromptFormat]:
        """Yield what plugins other than ``without`` use for a model, the first choice first, for one prompt.

        ``render`` raises ``PluginProblem`` if the plugin writes no prompt; the next format is for that case.
        """
        both = [*self._implementations("prompt_format"), *self._implementations("format_prompt")]
        for impl in sorted(both, key=lambda impl: impl.trylast):
            if impl.plugin is not without and (found := self._format_of(impl, model)) is not None:
                yield found

    def format_prompt(self, messages: Sequence[Message], model: ModelInfo, partial: str) -> str | None:
        """Return the prompt in the first format that can write it; None if there is none."""
        for chat_format in self.prompt_formats(model):
            with suppress(PluginProblem):
                return chat_format.render(messages, partial)
        return None

    def builders(self, gradio: Any, host: Any) -> list[tuple[str, Callable[[], None]]]:
        """Return one function for each plugin with a section in the Settings tab, so that each can be undone alone."""
        found: list[tuple[str, Callable[[], None]]] = []
        for impl in self._implementations(BUILDING):
            guard = GuardedHook.of(impl)
            build = partial(self._build, impl, gradio, host)
            found.append((impl.plugin_name, build if guard.trusted else partial(_built_in_time, build)))
        return found

    # --- telling about plugins ----------------------------------------------------------------------------------------

    def names(self) -> list[str]:
        """Return the names of all registered plugins."""
        return [name for name, plugin in self._pm.list_name_plugin() if plugin is not None]

    def order(self, hook: str) -> list[str]:
        """Return the names of the plugins that implement a hook, in the order in which they are called."""
        return [impl.plugin_name for impl in self._implementations(hook)]

    def turns(self, hook: str) -> list[tuple[str, str]]:
        """Return the plugins that implement a hook in the order in which they are called, each with the reason."""
        found = [(impl.plugin_name, self._why_now(impl)) for impl in self._implementations(hook)]
        return [(found[0][0], "the only one")] if len(found) == 1 else found

    def _why_now(self, impl: Any) -> str:
        if impl.plugin_name in self._order:
            return f"number {self._order.position(impl.plugin_name) + 1} in {ORDER_VARIABLE}"
        return "tryfirst" if impl.tryfirst else "trylast" if impl.trylast else "found last, called first"

    def first_result_counts(self, hook: str) -> bool:
        """Return whether plugins are called only until one returns a result."""
        return bool(getattr(self._pm.hook, hook).spec.opts["firstresult"])

    def states(self) -> list[PluginState]:
        """Return how each plugin is: the registered ones in the order in which they usually are called, then others."""
        return [self._state_of(name) for name in self.names()[::-1]] + list(self._without.values())

    def line_of_the_healthy(self) -> str:
        """Name the plugins of others that work, with their versions; empty if there are none."""
        healthy = [one for one in self.states() if one.state is State.ACTIVE and not one.left_out]
        names = [f"{one.name} {one.version}".rstrip() for one in healthy if not one.module.startswith(OURS)]
        return f"Plugins: {', '.join(names)}" if names else ""

    def _state_of(self, name: str) -> PluginState:
        guards = {hook: guard for hook in HOOKS if (guard := self.guard_of(name, hook)) is not None}
        paused = {hook: guard for hook, guard in guards.items() if guard.pause_left()}
        left_out = self._left_out.get(name, ())
        return _state(
            self._found.get(name),
            name,
            State.PAUSED if paused else State.BROKEN if left_out and not guards else State.ACTIVE,
            "; ".join([guard.why for guard in paused.values()] or left_out),
            hooks=tuple(guards),
            left_out=left_out,
            doubts=self._doubts.get(name, ()),
            paused=tuple((hook, guard.pause_left()) for hook, guard in paused.items()),
        )

    # --- the parts ----------------------------------------------------------------------------------------------------

    def _files(self) -> list[PluginFile]:
        """Return the plugins in the folder that the user named, if any."""
        folder = self._option(FOLDER_VARIABLE)
        if not folder.strip():
            return []
        try:
            return in_folder(folder)
        except UnusableFolder as error:
            line = f"{FOLDER_VARIABLE}: no plugin of it is loaded: {error}"
            self._complaints.tell(line, line)
            return []

    def _format_of(self, impl: Any, model: ModelInfo) -> PromptFormat | None:
        guard = GuardedHook.of(impl)
        if guard.hook == "format_prompt":
            render = partial(self._old_render, impl, model)
            return PromptFormat(GuardedFormat(guard, render, self._clock, may_pass=True).render)
        found = self._call(impl, model=model)
        if found is None:
            return None
        guarded = GuardedFormat(guard, found.render, self._clock)
        return PromptFormat(guarded.render, tuple(found.stops)) if self._is_usable(guard, guarded, model) else None

    def _is_usable(self, guard: GuardedHook, guarded: GuardedFormat, model: ModelInfo) -> bool:
        """Try a plugin's format out, once for each model, and report what its prompts lack."""
        if guard.trusted or (guard.plugin, model.name) in self._tried_out:
            return True
        try:
            missing = guarded.try_out()
        except PluginProblem:
            return False
        self._tried_out.add((guard.plugin, model.name))
        if missing:
            line = f"Plugin {guard.plugin!r}: its {guard.hook} leaves out {' and '.join(missing)}"
            self._complaints.tell(line, line)
        return True

    def _old_render(self, impl: Any, model: ModelInfo, messages: Sequence[Message], partial: str) -> Any:
        """Write a prompt with the hook ``format_prompt``."""
        return self._call(impl, GuardedHook.of(impl).raw, messages=messages, model=model, partial=partial)

    def _turn(self, found: Found) -> int:
        """Sort the plugins for registration: the last one registered is the first one called."""
        return 1 - self._order.position(found.name) + len(self._order) if found.name in self._order else 0

    def _is_new(self, found: Found) -> bool:
        """Return False for a plugin that is registered already; report one that only has the same name."""
        known = self._found.get(found.name)
        if known is not None and (known.module, known.package) != (found.module, found.package):
            first, second = (f"{one.package} {one.version}".rstrip() for one in (known, found))
            line = f"Plugin {found.name!r} of {second} is left out: {first} already has a plugin of that name"
            self._complaints.tell(line, line)
        return known is None and not self._pm.has_plugin(found.name)

    def _import(self, found: Found) -> None:
        self._join(found, found.load if found.is_ours else partial(in_time, found.load, (), START_SECONDS))

    def _join(self, found: Found, load: Callable[[], object]) -> bool:
        try:
            plugin = load()
        except StillRunning as late:
            why = f"was not imported within {START_SECONDS:g} s and is not waited for"
            self._without[found.name] = _state(found, found.name, State.LOADING, why)
            self._report(f"Plugin {found.name!r} {why}", None)
            threads.run(partial(self._join_late, found, late))
            return False
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            self._lose(found.name, f"could not be loaded and is left out: {in_words(error)}{_outdated(error)}", error)
            return False
        return self.register(plugin, found.name, guarded=not found.is_ours)

    def _join_late(self, found: Found, late: StillRunning) -> None:
        if not self._join(found, late.result):
            return
        self._report(f"Plugin {found.name!r} is imported now and active", None)
        if self._settings is not None:
            self.register_settings(self._settings, found.name)
        if self._host is not None:
            self.start(self._host, found.name)

    def _add(self, plugin: object, name: str, guarded: bool) -> None:
        """Register the usable hooks of a plugin, and report the others.

        Raises:
            Exception: the plugin cannot be registered.
        """
        if self._pm.has_plugin(name) or self._pm.is_registered(plugin):
            raise ValueError(f"it is loaded already, as {self._pm.get_name(plugin) or name!r}")
        marked = checks.marked(plugin)
        faults = dict(checks.faults(plugin, marked))
        first = {"tryfirst": True, "trylast": False} if name in self._order else {}
        self._pm.accepted = {hook: {**options, **first} for hook, options in marked.items() if hook not in faults}
        self._pm.register(plugin, name)
        jobs = JobQueue(lambda: self._report(f"Plugin {name!r} is too slow and misses some calls", None))
        for hook, impl in self._of(plugin):
            raw = impl.function
            if self._is_traced:
                raw = traced(raw, name, hook, impl.argnames, self._trace, self._clock)
            impl.function = GuardedHook(
                raw, name, hook, HOOKS[hook], jobs if guarded else None, self._complaints, self._clock
            ).call
        self._left_out[name] = tuple(faults.values())
        for fault in faults.values():
            self._report(f"Plugin {name!r} has a hook that is not called: {fault}", None)
        if guarded:
            self._doubts[name] = tuple(checks.doubts(plugin, self._pm.accepted))
            for doubt in self._doubts[name]:
                self._report(f"Plugin {name!r} may misunderstand a hook: {doubt}", None)

    def _lose(self, name: str, why: str, error: BaseException) -> None:
        if not self._pm.has_plugin(name):
            self._without[name] = _state(self._found.get(name), name, State.BROKEN, why)
        self._report(f"Plugin {name!r} {why}", error)

    def _implementations(self, hook: str, name: str | None = None) -> list[Any]:
        """Return the implementations of a hook in the order of calls: of all plugins, or of one."""
        implementations: list[Any] = getattr(self._pm.hook, hook).get_hookimpls()[::-1]
        return implementations if name is None else [impl for impl in implementations if impl.plugin_name == name]

    def _call(self, impl: Any, function: Callable[..., Any] | None = None, /, **arguments: Any) -> Any:
        """Call one implementation, or ``function`` in its place."""
        return (function or impl.function)(*[arguments[name] for name in impl.argnames])

    def _build(self, impl: Any, gradio: Any, host: Any) -> None:
        """Let a plugin create its section. The open page is looked up only for a plugin that asks for it."""
        guard = GuardedHook.of(impl)
        arguments = {"gradio": gradio, "host": host, "every": partial(_every, guard, gradio)}
        if "page" in impl.argnames or "tab" in impl.argnames:
            arguments["page"], arguments["tab"] = live_part.open_page(gradio)
        self._call(impl, guard.raw, **arguments)

    def _of(self, plugin: object) -> Iterator[tuple[str, Any]]:
        for caller in self._pm.get_hookcallers(plugin) or ():
            if caller.has_spec():
                yield from ((caller.name, impl) for impl in caller.get_hookimpls() if impl.plugin is plugin)


class _Registry(pluggy.PluginManager):
    """Registers only the functions that were found usable, with the options that were decided for them."""

    accepted: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed

    def parse_hookimpl_opts(self, plugin: object, name: str) -> Any:
        return self.accepted.get(name)


def _outdated(error: BaseException) -> str:
    """Return a hint if a plugin uses a name that this version does not have; otherwise nothing."""
    ours = isinstance(error, (ImportError, AttributeError)) and "'zwaif_hooks" in str(error)
    return "; it may need a newer zwaif-fallback" if ours else ""


def _state(found: Found | None, name: str, state: State, why: str = "", **more: Any) -> PluginState:
    package, version, module = (found.package, found.version, found.module) if found is not None else ("", "", "")
    return PluginState(name, package, version, module, state=state, why=why, **more)


def _every(section: GuardedHook, gradio: Any, seconds: float, function: Callable[[], Any], outputs: Any) -> None:
    """Make a part of a plugin's section live: the argument ``every`` of ``register_settings_ui``."""
    components = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    rule = HookRule(Kind.AWAITED, LIVE_SECONDS, partial(values, len(components)))
    guarded = section.beside(function, f"every({seconds:g}, {getattr(function, '__name__', 'function')})", rule)
    live_part.add(gradio, seconds, guarded.call, components)


def _built_in_time(build: Callable[[], None]) -> None:
    """Run ``build`` in a thread with this context: Gradio keeps what is being built in context variables."""
    try:
        in_time(copy_context().run, (build,), START_SECONDS)
    except Exception:
        raise
    except BaseException as error:  # not the user's Ctrl+C, which would be raised in this thread
        raise RuntimeError(f"{error!r}") from error
