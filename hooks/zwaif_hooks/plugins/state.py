"""What is known of each plugin, for commands and pages."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    """How one plugin is."""

    ACTIVE = "active"
    PAUSED = "paused"
    """One or more of its hooks failed and are not called for a while."""
    BROKEN = "broken"
    """It could not be imported or registered, or none of its hooks can be called."""
    BLOCKED = "blocked"
    """The user listed it in ``ZWAIF_BLOCK_PLUGINS``, or lists others in ``ZWAIF_ALLOW_PLUGINS``."""
    LOADING = "loading"
    """It is still being imported, and joins when it is ready."""


@dataclass(frozen=True)
class PluginState:
    """One plugin, as the plugin manager sees it now."""

    name: str
    """Name of its entry point."""
    package: str = ""
    """The distribution that pip installed, or the name of a single file; empty if a program registered the plugin."""
    version: str = ""
    """Version of that distribution; a single file has none."""
    module: str = ""
    """What the entry point names (``zwaif_parrot`` or ``zwaif_parrot:plugin``, say); the path of a single file."""
    hooks: tuple[str, ...] = ()
    """Hooks that it implements, in the order of the manual."""
    state: State = State.ACTIVE
    why: str = ""
    """The reason in one line, unless it is active without a fault."""
    left_out: tuple[str, ...] = ()
    """One line for each of its hooks that is not called, because it does not match the specification."""
    doubts: tuple[str, ...] = ()
    """One line for each annotation that does not fit a hook. The hook is called nevertheless."""
    paused: tuple[tuple[str, float], ...] = ()
    """The hooks that are not called now, and for how many more seconds."""
