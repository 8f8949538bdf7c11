"""Recognises Z-Waif by the files around one of its modules.

Its module names (``main``, ``utils``, ``API``) are generic, so a name proves nothing. The marker files below are in
every release from V1.3 to v1.15. Only ``os`` is imported: this runs in every Python process of the environment.
"""
# pathlib takes longer to import than this module takes to answer.

from __future__ import annotations

import os

MARKERS = (
    "Configurables/SoftReset.json",
    "utils/based_rag.py",
    "Configurables/EmoteLib.json",
    "OOBA_Presets/Z-Waif-ADEF-Standard.yaml",
    "LiveLogBlank.json",
    "API/Oogabooga_Api_Support.py",
    "utils/web_ui.py",
    "utils/settings.py",
    "utils/hotkeys.py",
    "utils/lorebook.py",
    "utils/vtube_studio.py",
    "main.py",
)
"""The first two are checked first: a folder with neither is not Z-Waif, whatever its modules are called."""
ENOUGH = 8
"""Markers that must be present: forks may have removed or renamed a few."""

_trees: set[str] = set()


def find_tree(path: str | os.PathLike[str]) -> str | None:
    """Return the root of the Z-Waif tree of the module file ``path`` (``main.py``, ``utils/x.py``, ``API/x.py``).

    None for everything else, after at most two checks on the disk.
    """
    root = _candidate(os.fspath(path))
    if root is None or root in _trees:
        return root
    if not (_has(root, MARKERS[0]) or _has(root, MARKERS[1])):
        return None
    if sum(_has(root, marker) for marker in MARKERS) < ENOUGH:
        return None
    _trees.add(root)
    return root


def _candidate(path: str) -> str | None:
    """Return the folder that would be the root, judged by the file's path."""
    folder, file = os.path.split(path)
    if not file.endswith(".py"):
        return None
    try:
        folder = os.path.abspath(folder)
    except OSError:
        return None  # the working directory is gone
    if file == "main.py":
        return folder
    return os.path.dirname(folder) if os.path.basename(folder) in ("utils", "API") else None


def _has(root: str, marker: str) -> bool:
    return os.path.exists(os.path.join(root, marker))
