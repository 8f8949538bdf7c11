"""The parts of one running Z-Waif process that the guards share."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zwaif_hooks.background.clock import Clock, SystemClock
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.failover.takeover import is_a_plugins_thread
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.reply.spoken_text import ThinkingHabit
from zwaif_hooks.turn_log import TurnLog


@dataclass
class Runtime:
    """Made once by the bridge; tests make their own."""

    tree: Path
    settings: Any
    plugins: PluginManager
    primaries: PrimaryRegistry
    say: Callable[[str], None]
    """One plain line for the user."""
    report: Callable[[str, BaseException | None], None]
    """The same, with the traceback in the log file."""
    clock: Clock = field(default_factory=SystemClock)
    records: TurnLog = field(default_factory=TurnLog)
    habits: defaultdict[str, ThinkingHabit] = field(default_factory=lambda: defaultdict(ThinkingHabit))
    """Of plugins, by name."""
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
        """Whether the guards take over at all; asked before every request.

        An edited ``.env`` counts at once, and to look for one would cost a healthy message more than most of what we
        do: where the server will be asked anyway, that is done while it thinks or afterwards, and when it failed
        (``still_enabled``). What a plugin asks while it answers is its own business.
        """
        if is_a_plugins_thread():
            return False
        if self.settings.get("API_FALLBACK_ENABLED") and not self.primaries.one_is_open():
            return True
        return self.still_enabled()

    def still_enabled(self) -> bool:
        """The same, ``.env`` looked at."""
        self.settings.reload()
        return bool(self.settings.get("API_FALLBACK_ENABLED"))
