"""Z-Waif as found: the one object through which a plugin reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zwaif_hooks.host.settings import SettingsStore
    from zwaif_hooks.primary import PrimaryBook


@dataclass(frozen=True)
class Host:
    """The running Z-Waif. Handed to ``zwaif_started`` and ``register_settings_ui``."""

    tree: Path
    """The folder with Z-Waif's ``main.py``; also its working directory."""
    settings: SettingsStore
    """Every setting of every plugin: read with ``get``, change with ``set`` (validated, saved in ``.env``)."""
    primaries: PrimaryBook
    """State of each LLM server Z-Waif has asked: healthy, failing, or open until some moment."""
