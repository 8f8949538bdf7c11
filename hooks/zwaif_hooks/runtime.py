"""What all guards of one Z-Waif process share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.background.plugin_threads import is_a_plugins_thread
from zwaif_hooks.failover.learned import LearnedFile
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.reply.spoken_text import ThinkingHabit
from zwaif_hooks.turn_log import TurnLog


@dataclass
class Runtime:
    """Created once by the bridge."""

    tree: Path
    settings: Any
    plugins: PluginManager
    primaries: PrimaryRegistry
    say: Callable[[str], None]
    """Tells the user one plain line."""
    report: Callable[[str, BaseException | None], None]
    """The same, with a traceback in the log file."""
    clock: Clock = field(default_factory=SystemClock)
    records: TurnLog = field(default_factory=TurnLog)
    learned: LearnedFile | None = None
    start_plugins: Callable[[], None] | None = None
    """Makes sure that the plugins are started; returns at once. None once it was called."""
    habits: defaultdict[str, ThinkingHabit] = field(default_factory=lambda: defaultdict(ThinkingHabit))
    """The habits of plugins, by plugin name."""
    asked_why: dict[str, float] = field(default_factory=dict)
    """When each primary was last asked why it failed, by the clock."""
    _said: set[tuple[str, str]] = field(default_factory=set)

    def say_once(self, key: tuple[str, str], line: str) -> None:
        """``say``, but only the first time for each ``key``."""
        if key not in self._said:
            self._said.add(key)
            self.say(line)

    @property
    def enabled(self) -> bool:
        """Whether the guards take over at all. Read before every request.

        An edited ``.env`` applies at once, but checking it would cost a healthy message more than most of the guard. So
        if the server will be asked, that is done while it thinks or afterwards, and again after a failure
        (``still_enabled``). Requests that a plugin sends from a hook are not guarded.
        """
        if is_a_plugins_thread():
            return False
        if self.settings.get("API_FALLBACK_ENABLED") and not self.primaries.one_is_open():
            return True
        return self.still_enabled()

    def before_first_turn(self) -> None:
        """Start the plugins, if Z-Waif's own start was not recognised."""
        start, self.start_plugins = self.start_plugins, None
        if start is not None:
            start()

    def after_turn(self) -> None:
        """Do what can wait until a turn is over, in the background."""
        self.settings.reload()
        if self.learned is not None:
            self.learned.save()

    def still_enabled(self) -> bool:
        """Return ``enabled`` after reading an edited ``.env``."""
        self.settings.reload()
        return bool(self.settings.get("API_FALLBACK_ENABLED"))
