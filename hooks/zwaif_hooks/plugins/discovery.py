"""Finds plugins: the installed ones by their entry points, and single files in a folder of the user."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from types import ModuleType

ENTRY_POINT_GROUP = "zwaif"
OURS = "zwaif_fallback."
"""The package's own plugin. It keeps its deadlines, so it needs no threads and no pauses."""
BLOCK_VARIABLE = "ZWAIF_BLOCK_PLUGINS"
ALLOW_VARIABLE = "ZWAIF_ALLOW_PLUGINS"
FOLDER_VARIABLE = "ZWAIF_PLUGINS_DIR"
ORDER_VARIABLE = "ZWAIF_PLUGIN_ORDER"
TRACE_VARIABLE = "ZWAIF_TRACE_PLUGINS"


_FILE = re.compile(r"[A-Za-z][\w-]*\.py", re.ASCII)


class Found(Protocol):
    """A plugin that is not imported yet."""

    name: str
    module: str
    """What the entry point names: ``module`` or ``module:object``; the path of a single file."""
    is_ours: bool

    @property
    def package(self) -> str:
        """The distribution that pip installed; the name of a single file."""

    @property
    def version(self) -> str:
        """Version of the distribution; empty for a single file."""

    def load(self) -> object:
        """Import it."""


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


class PluginFile:
    """A plugin in a single file, named after the file, not imported yet."""

    is_ours = False
    version = ""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self.module = str(path)
        self.package = path.name

    def load(self) -> ModuleType:
        from importlib.util import module_from_spec, spec_from_file_location

        name = _module_of(self.name)
        spec = spec_from_file_location(name, self.module)
        assert spec is not None and spec.loader is not None  # the name ends with .py
        module = module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def _module_of(plugin: str) -> str:
    """Return the name under which a plugin in a single file is imported."""
    return "zwaif_plugin_file_" + plugin.replace("-", "_")


def single_file(plugin: str, module: str) -> str:
    """Return the file of a plugin that was imported from a single file, if ``module`` names it; otherwise empty.

    Its own ``__name__`` does, and so does the name of the file without ``.py``.
    """
    own = _module_of(plugin)
    found = sys.modules.get(own) if module in (own, plugin) else None
    return str(found.__file__) if found is not None else ""


class UnusableFolder(Exception):
    """``str(error)`` says why no plugin of a folder is loaded."""


def in_folder(text: str) -> list[PluginFile]:
    """Return a plugin for each Python file directly in a folder, except those whose names begin with ``_`` or ``.``.

    Raises:
        UnusableFolder: the folder is not there, or another user could put code into it.
    """
    from zwaif_hooks.storage import ownership  # ctypes on Windows: only for those who use a folder

    folder = Path(text.strip()).expanduser()
    try:
        if not folder.is_absolute():
            raise UnusableFolder(f"{folder} is not a full path")
        if not folder.is_dir():
            raise UnusableFolder(f"there is no folder {folder}")
        files = sorted(path for path in folder.iterdir() if _FILE.fullmatch(path.name))
        for path in files:
            if why := ownership.others_can_change(path):
                raise UnusableFolder(f"{why}. Move it to a folder that only you can change")
    except OSError as error:
        raise UnusableFolder(f"{folder} cannot be read ({error.strerror})") from error
    return [PluginFile(path) for path in files]


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
