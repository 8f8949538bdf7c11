"""The parts of one running Z-Waif process that the guards share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zwaif_hooks.clock import Clock, SystemClock
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.primary import PrimaryBook
from zwaif_hooks.records import TurnLog


@dataclass
class Runtime:
    """Made once by the bridge; tests make their own."""

    tree: Path
    settings: Any
    plugins: PluginManager
    primaries: PrimaryBook
    say: Callable[[str], None]
    """One plain line for the user."""
    report: Callable[[str, BaseException | None], None]
    """The same, with the traceback in the log file."""
    clock: Clock = field(default_factory=SystemClock)
    records: TurnLog = field(default_factory=TurnLog)

    @property
    def enabled(self) -> bool:
        """Whether the guards take over at all; read before every request, so that an edited ``.env`` counts at once."""
        self.settings.reload()
        return bool(self.settings.get("API_FALLBACK_ENABLED"))
