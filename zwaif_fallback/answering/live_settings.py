"""The settings and Z-Waif's folder, which are replaced once Z-Waif has started and its ``.env`` counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class Settings(Protocol):
    """The part of ``SettingsStore`` that is used."""

    def get(self, name: str) -> Any: ...


class LiveSettings:
    """Reads each value when it is needed: a change takes effect at once.

    Args:
        settings: where values come from.
        tree: Z-Waif's folder, where relative paths start; None outside Z-Waif.
    """

    def __init__(self, settings: Settings, tree: Path | None = None) -> None:
        self.settings = settings
        self.tree = tree

    def get(self, name: str) -> Any:
        """Return a setting's current value."""
        return self.settings.get(name)

    def text(self, name: str) -> str:
        """Return a setting's current value as text, without blanks around it."""
        return str(self.get(name)).strip()
