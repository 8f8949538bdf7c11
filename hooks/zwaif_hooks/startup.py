"""Runs in every Python process of the environment (by the start-up line), and waits for Z-Waif at almost no cost.

Import only modules here that the interpreter has loaded anyway: ``logging`` alone takes 14 ms, entry points 49 ms. In a
virtual environment the line runs twice (CPython issue 75723), and a BaseException from ``activate`` would keep the
interpreter from starting at all.
"""

import os
import sys
from _thread import get_ident

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

    Callback = Callable[[ModuleType], None]

SWITCH = "ZWAIF_PLUGINS"
HOST_ROOTS = frozenset({"main", "utils", "API"})


class ImportWatcher:
    """A finder at the front of ``sys.meta_path`` that detects Z-Waif's modules and calls back after chosen imports.

    Z-Waif's module names are generic, so a name proves nothing: its file must be among Z-Waif's marker files.
    """

    def __init__(self) -> None:
        self.tree = ""
        self._opened = False
        self._strangers: set[str] = set()
        self._callbacks: dict[str, list[Callback]] = {}
        self._half_imported: list[str] = []
        self._searching: set[tuple[int, str]] = set()

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        if name not in self._callbacks and (self._opened or name.partition(".")[0] not in HOST_ROOTS):
            return None
        search = (get_ident(), name)
        if search in self._searching:
            return None
        self._searching.add(search)
        try:
            spec = self._ask_the_others(name, path, target)
        finally:
            self._searching.discard(search)
        if spec is None or spec.loader is None or not spec.origin:
            return None
        if not self.tree:
            self._look_at(spec.origin)
        if name not in self._callbacks and (self._opened or not self.tree):
            return None
        spec.loader = WatchedLoader(spec.loader, self)  # type: ignore[assignment]
        return spec

    def after_import(self, name: str, callback: "Callback") -> None:
        """Call ``callback`` with the module ``name`` once it has been executed; at once if it already was."""
        module = sys.modules.get(name)
        if module is not None and not is_half_imported(module):
            run_quietly(callback, module)
            return
        self._callbacks.setdefault(name, []).append(callback)
        if module is not None:
            self._half_imported.append(name)

    def open(self) -> None:
        """Start the bridge, once.

        Not in ``find_spec``, which runs under the interpreter's import lock: waiting there for a module that another
        thread is importing would never end.
        """
        if self._opened:
            return
        self._opened = True
        try:
            from zwaif_hooks.bridge import open_bridge

            open_bridge(self.tree, self)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            complain("could not start", error)

    def executed(self, module: "ModuleType") -> None:
        for callback in self._callbacks.get(module.__name__, ()):
            run_quietly(callback, module)
        for name in self._half_imported[:]:
            late = sys.modules.get(name)
            if late is not None and late is not module and not is_half_imported(late):
                self._half_imported.remove(name)
                self.executed(late)

    def _ask_the_others(self, name: str, path: "Any", target: "Any") -> "ModuleSpec | None":
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                return spec
        return None

    def _look_at(self, origin: str) -> None:
        try:
            folder = os.path.dirname(os.path.abspath(origin))
            if folder in self._strangers:
                return
            from zwaif_hooks.host.tree import find_tree

            self.tree = find_tree(origin) or ""
            if not self.tree:
                self._strangers.add(folder)
        except Exception as error:
            complain("could not look for Z-Waif", error)


class WatchedLoader:
    """Wraps the real loader: starts the bridge before the module is executed, and calls back afterwards."""

    def __init__(self, real: "Any", watcher: ImportWatcher) -> None:
        self._real = real
        self._watcher = watcher

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        created: ModuleType | None = self._real.create_module(spec)
        return created

    def exec_module(self, module: "ModuleType") -> None:
        module.__loader__ = self._real
        if module.__spec__ is not None:
            module.__spec__.loader = self._real
        self._watcher.open()
        self._real.exec_module(module)
        self._watcher.executed(module)

    def __getattr__(self, name: str) -> "Any":
        if name.startswith("__"):  # also asked of a copy that is still empty
            raise AttributeError(name)
        return getattr(self._real, name)


def switched_off(environ: "Mapping[str, str]") -> bool:
    """Return whether the environment turns off every plugin."""
    return environ.get(SWITCH, "").strip().upper() in ("OFF", "0", "FALSE", "NO")


def activate() -> None:
    """Install the watcher, once. Never raises."""
    try:
        if switched_off(os.environ):
            return
        if not any(type(finder).__name__ == "ImportWatcher" for finder in sys.meta_path):
            sys.meta_path.insert(0, ImportWatcher())
    except BaseException as error:
        complain("could not start", error)


def is_half_imported(module: "ModuleType") -> bool:
    return bool(getattr(getattr(module, "__spec__", None), "_initializing", False))


def run_quietly(callback: "Callback", module: "ModuleType") -> None:
    """Call ``callback``; its error must not break the host's import. Ctrl+C still works."""
    try:
        callback(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        complain(f"could not attach to {module.__name__}", error)


def complain(what: str, error: BaseException) -> None:
    """Print one plain line, and write the traceback to the log file if possible."""
    line = f"zwaif-fallback {what}; Z-Waif continues without that part. Cause:"
    try:
        from zwaif_hooks.log import in_words, report

        report(f"{line} {in_words(error)}", error)
    except BaseException:
        if sys.stderr is not None:
            print(f"{line} {error}".encode("ascii", "replace").decode(), file=sys.stderr)
