"""One hook of one plugin, called so that its mistakes and delays stay its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CoroutineType
from typing import Any

from zwaif_hooks.background.clock import Clock
from zwaif_hooks.background.plugin_threads import StillRunning, in_a_plugin, in_time, is_a_plugins_thread
from zwaif_hooks.background.thread_cache import JobQueue
from zwaif_hooks.log import in_words
from zwaif_hooks.messages import PluginProblem
from zwaif_hooks.plugins.complaints import Complaints
from zwaif_hooks.plugins.hook_table import FIRST_PAUSE, LONGEST_PAUSE, HookRule, Kind


class GuardedHook:
    """A function of a plugin. ``call`` never raises; a failed or late call counts as None.

    After a failure it is not called for a while, as a server that failed is not asked. The hooks of the built-in plugin
    (``trusted``) have neither threads nor pauses.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        plugin: str,
        hook: str,
        rule: HookRule,
        jobs: JobQueue | None,
        complaints: Complaints,
        clock: Clock,
    ) -> None:
        """Guard ``function``. ``jobs``: the plugin's own thread; None: the plugin is trusted."""
        self.raw = function
        self.plugin = plugin
        self.hook = hook
        self.rule = rule
        self.why = ""
        """The last failure in one line; empty after a success."""
        self._jobs = jobs
        self._complaints = complaints
        self._clock = clock
        self._failures = 0
        self._is_running = False
        self._until: float | None = None
        self._hangs: StillRunning | None = None
        self.call: Callable[..., Any] = self._way(rule.kind)
        """Calls the function. A bound method of this object: see ``of``."""

    @property
    def trusted(self) -> bool:
        return self._jobs is None

    def beside(self, function: Callable[..., Any], name: str, rule: HookRule) -> GuardedHook:
        """Guard another function of the same plugin. ``name``: what the console calls it."""
        return GuardedHook(function, self.plugin, name, rule, self._jobs, self._complaints, self._clock)

    @staticmethod
    def of(implementation: Any) -> GuardedHook:
        """Return the guard of a hook that pluggy calls. Its function is ``call``: one step less in a healthy turn."""
        guard: GuardedHook = implementation.function.__self__
        return guard

    def pause_left(self) -> float:
        """Return for how many more seconds it is not called; 0 if it is."""
        return 0.0 if self._until is None else max(0.0, self._until - self._clock.now())

    def succeeded(self) -> None:
        self._failures, self._until, self.why = 0, None, ""

    def failed(self, error: BaseException, happened: str = "") -> None:
        """Report a failure by name, and pause the hook. ``happened`` replaces "failed in" and the hook's name."""
        words, skipped = in_words(error), self._pause(error)
        key = happened or f"failed in {self.hook}"
        if isinstance(error, PluginProblem):
            self.why, line = words, self._line(skipped, words)
        else:
            rest = f"; its {self.hook} {skipped}" if happened else f", which {skipped}"
            self.why, line = f"{key}: {words}", f"Plugin {self.plugin!r} {key}{rest * bool(skipped)}: {words}"
        self._complaints.tell((self.plugin, key), line, None if isinstance(error, PluginProblem) else error)

    def late(self, why: str) -> None:
        """Report a delay by name, and pause the hook."""
        self.why, skipped = why, self._pause(None)
        self._complaints.tell((self.plugin, why), self._line(skipped, why))

    def _line(self, skipped: str, why: str) -> str:
        return (
            f"Plugin {self.plugin!r}: its {self.hook} {skipped}: {why}" if skipped else f"Plugin {self.plugin!r}: {why}"
        )

    def catch_up(self, seconds: float) -> bool:
        """Wait until the calls sent before were made. Return False if that takes longer than ``seconds``."""
        return self._jobs is None or self._jobs.reached().wait(seconds)

    def name_if_running(self) -> None:
        """Report a call of a hook of ``Kind.INLINE`` that has not ended."""
        if self._is_running:
            self.late(self._unfinished())

    def run(self, function: Callable[[], Any], seconds: float) -> Any:
        """Call another function of the plugin as a part of this hook. Return None if it failed or was late."""
        work = (function, None, ())
        return self._guarded(*work) if self.trusted else self._awaited(self._guarded, work, seconds)

    def _way(self, kind: Kind) -> Callable[..., Any]:
        if self.trusted or kind is Kind.ANSWERS:
            return self._in_this_thread
        return {Kind.INFORMED: self._send, Kind.AWAITED: self._in_time, Kind.INLINE: self._measured}.get(
            kind, self._in_this_thread
        )

    def _in_this_thread(self, *args: Any) -> Any:
        return self._guarded(self.raw, self.rule.check, args)

    def _guarded(self, function: Callable[..., Any], check: Callable[[Any, str], Any] | None, args: Any) -> Any:
        if self._until is not None and self.pause_left():
            return None
        try:
            result = function(*args) if self.trusted else _in_a_plugin(function, args)
            if result is not None:
                refuse_async(result)
                if check is not None:
                    result = check(result, self.plugin)
        except BaseException as error:
            if is_ctrl_c(error):
                raise
            self.failed(error)
            return None
        # An answer is a success when it was heard; and what ends in its own pause was late.
        if self._failures and self.rule.kind is not Kind.ANSWERS and not self.pause_left():
            self.succeeded()
        return result

    def _measured(self, *args: Any) -> Any:
        began = self._clock.now()
        self._is_running = True
        result = self._in_this_thread(*args)
        self._is_running = False
        if self._clock.now() - began > self.rule.seconds:
            self.late(self._unfinished())
        return result

    def _in_time(self, *args: Any) -> Any:
        return self._awaited(self._in_this_thread, args, self.rule.seconds)

    def _awaited(self, work: Callable[..., Any], args: tuple[Any, ...], seconds: float) -> Any:
        if self._until is not None and self.pause_left():
            return None
        if self._hangs is not None and not self._hangs.is_over():
            return None
        try:
            return in_time(work, args, seconds)
        except StillRunning as late:
            self._hangs = late
        self.late(self._unfinished())
        return None

    def _send(self, *args: Any) -> None:
        assert self._jobs is not None
        if self._until is None or not self.pause_left():
            self._jobs.send(partial(self._told, *args))

    def _told(self, *args: Any) -> None:
        """Runs in the plugin's own thread. The next call waits until this one ends, so the order is kept."""
        try:
            in_time(self._in_this_thread, args, self.rule.seconds)
        except StillRunning as late:
            line = f"Plugin {self.plugin!r} is slow: {self._unfinished()}, and its other calls wait for that"
            self._complaints.tell((self.plugin, self.hook), line)
            late.result()

    def _unfinished(self) -> str:
        return f"it did not finish {self.hook} within {self.rule.seconds:g} s"

    def _pause(self, error: BaseException | None) -> str:
        """Begin a pause. Return "is skipped for …"; empty if there is none, or the hook runs only once anyway."""
        asked = error.retry_after if isinstance(error, PluginProblem) else None
        if self.trusted or (asked is None and self.rule.kind is Kind.INFORMED) or (asked is not None and asked <= 0):
            return ""
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 10), LONGEST_PAUSE) if asked is None else asked
        self._failures += 1
        self._until = self._clock.now() + pause
        return "" if self.rule.once else f"is skipped for {pause:g} s"


def _in_a_plugin(function: Callable[..., Any], args: Any) -> Any:
    if is_a_plugins_thread():
        return function(*args)
    with in_a_plugin():
        return function(*args)


def refuse_async(result: Any) -> None:
    """Raise ``TypeError`` if ``result`` is what an async function returns: nobody awaits it.

    Hooks that are async themselves were found when they were registered; this is for a function around one.
    """
    if isinstance(result, CoroutineType):
        result.close()  # or Python warns that it was never awaited, without naming the plugin
    if isinstance(result, (CoroutineType, AsyncGeneratorType)):
        raise TypeError(f"its function is async and never ran ({result.__qualname__}); write def in place of async def")


def is_ctrl_c(error: BaseException) -> bool:
    """Return whether this is the user's Ctrl+C, which Python raises in the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()
