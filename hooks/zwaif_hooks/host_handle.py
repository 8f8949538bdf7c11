"""The object through which a plugin reaches Z-Waif."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from zwaif_hooks.turn_log import TurnLog

if TYPE_CHECKING:
    from zwaif_hooks.failover.registry import PrimaryRegistry
    from zwaif_hooks.host.settings_store import SettingsStore
    from zwaif_hooks.plugins import PluginManager


@dataclass(frozen=True)
class Host:
    """The running Z-Waif. Handed to ``zwaif_started`` and ``register_settings_ui``."""

    tree: Path
    """The folder with Z-Waif's ``main.py``; also its working directory."""
    settings: SettingsStore
    """All settings of all plugins: read with ``get``, change with ``set`` (validated, saved in ``.env``)."""
    primaries: PrimaryRegistry
    """The state of each LLM server that Z-Waif has asked: healthy, failing, or open (not asked until it is back)."""
    plugins: PluginManager
    """The other plugins, for example to format a prompt with ``format_prompt``."""
    records: TurnLog = field(default_factory=TurnLog)
    """Who answered the last replies, and why."""
