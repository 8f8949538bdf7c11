"""Put off running a module until something in it is used."""

from __future__ import annotations

import contextlib
import importlib.machinery
import sys
import threading
import types
from collections.abc import Iterator, Sequence
from importlib.abc import Loader, MetaPathFinder
from typing import Any

_running = threading.RLock()
_UNRUN = "__zwaif_unrun__"


@contextlib.contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Let the modules ``names``, if they are imported here for the first time, run when a name in them is first used.

    The modules in a deferred package can be imported without running the package. ``importlib.util.LazyLoader`` can do
    neither: it runs a module when anything reads its ``__path__`` or ``__file__``, as each of these imports does.

    Suitable only for modules that nobody imports for a side effect.
    """
    finder = _Finder(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Finder(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in self._names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _DeferringLoader(spec.loader)
        return spec


class _DeferringLoader(Loader):
    def __init__(self, real: Loader) -> None:
        self._real = real

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Deferred(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._real
        vars(module)[_UNRUN] = True


class _Deferred(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        """Run the module, as ``name`` is not in it yet. Other threads wait; while it runs, ``name`` is just missing."""
        with _running:
            if vars(self).pop(_UNRUN, False):
                self.__loader__.exec_module(self)  # type: ignore[union-attr]
            return super().__getattribute__(name)
