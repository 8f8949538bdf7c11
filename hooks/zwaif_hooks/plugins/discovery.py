"""Finds the installed plugins by their entry points."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

ENTRY_POINT_GROUP = "zwaif"
OURS = "zwaif_fallback."
"""The package's own plugin. It keeps its deadlines, so it needs no threads and no pauses."""
BLOCK_VARIABLE = "ZWAIF_BLOCK_PLUGINS"
ORDER_VARIABLE = "ZWAIF_PLUGIN_ORDER"
TRACE_VARIABLE = "ZWAIF_TRACE_PLUGINS"


class Installed:
    """A plugin that pip installed, not imported yet."""

    def __init__(self, point: EntryPoint) -> None:
        self.name = point.name
        self.module = point.value
        """What the entry point names: ``module`` or ``module:object``."""
        self.load = point.load
        self.is_ours = point.value.startswith(OURS)
        self._dist = point.dist

    @property
    def package(self) -> str:
        """Its distribution. Reading that takes milliseconds, so Z-Waif's start does without it."""
        return self._dist.name if self._dist is not None else ""

    @property
    def version(self) -> str:
        return self._dist.version if self._dist is not None else ""


def installed() -> list[Installed]:
    """Return every plugin with an entry point in the group ``zwaif``."""
    from importlib.metadata import entry_points  # takes tens of milliseconds, so not in every process

    return [Installed(point) for point in entry_points(group=ENTRY_POINT_GROUP)]


class Names:
    """The plugins that a variable lists, separated by commas, in any case."""

    def __init__(self, variable: str, text: str) -> None:
        self.variable = variable
        self._written = [name.strip() for name in text.split(",") if name.strip()]
        self._names = [name.casefold() for name in self._written]

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name.casefold() in self._names

    def position(self, name: str) -> int:
        """Return where ``name``, which is listed, stands in the list."""
        return self._names.index(name.casefold())

    def unknown(self, plugins: Sequence[str]) -> Iterator[str]:
        """Yield a line for each name that none of the installed ``plugins`` has."""
        known = {name.casefold(): name for name in plugins}
        for name in self._written:
            if name.casefold() in known:
                continue
            near = difflib.get_close_matches(name.casefold(), known, n=1)
            rest = f"did you mean {known[near[0]]!r}?" if near else f"installed are {', '.join(sorted(plugins))}"
            yield f"{self.variable} names {name!r}, but there is no plugin of that name; {rest}"
