"""What each feature needs of Z-Waif's source, and which features a future release or a fork has to do without.

Messages are answered as long as Z-Waif uses one of the three client libraries: these are guarded, and not Z-Waif's own
functions.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from zwaif_hooks.storage import bounded


class Part(NamedTuple):
    """A feature, and what it needs: a match of ``pattern`` in one of ``files``."""

    feature: str
    files: tuple[str, ...]
    """Paths or glob patterns inside the tree. Old and new releases have different ones."""
    pattern: str
    needs: str
    """The same, for people."""


CONTROLLER = ("API/api_controller.py", "API/Oogabooga_Api_Support.py")

EVERY_REPLY = Part(
    "every reply of the fallback",
    ("API/*.py", "utils/*.py", "*.py"),
    r"^\s*(?:import|from)\s+(?:requests|ollama|lmstudio)\b",
    "module that imports requests, ollama or lmstudio",
)
PARTS = (
    EVERY_REPLY,
    Part(
        "the Settings tab",
        ("utils/web_ui.py",),
        r"\bas demo\b|^demo\s*=",
        "demo in utils/web_ui.py",
    ),
    Part(
        "lines in the Debug tab",
        ("utils/zw_logging.py", "utils/logging.py"),
        r"^def update_debug_log\b",
        "update_debug_log in utils/zw_logging.py",
    ),
    Part(
        "the start of plugins with Z-Waif (they start with the first message)",
        CONTROLLER,
        r"^def send_via_oogabooga\b",
        f"send_via_oogabooga in {CONTROLLER[0]}",
    ),
    Part(
        "the check for repeated replies",
        CONTROLLER,
        r"^ooga_history\s*=",
        f"ooga_history in {CONTROLLER[0]}",
    ),
    Part(
        "recognising summaries",
        CONTROLLER,
        r"^def summary_memory_run",
        f"summary_memory_run in {CONTROLLER[0]}",
    ),
    Part(
        "the character's name as Z-Waif has it now (that in .env is used)",
        ("utils/settings.py",),
        r"^char_name\s*[:=]",
        "char_name in utils/settings.py",
    ),
)


def missing(tree: Path) -> list[Part]:
    """Return the features that this tree has to do without. Reads a few source files: for background threads."""
    return [part for part in PARTS if not any(_holds(path, part.pattern) for path in _files(tree, part.files))]


def line(parts: list[Part]) -> str:
    """Say in one line what is off and why; empty if nothing is."""
    if not parts:
        return ""
    lacks = "; ".join(f"{part.feature}: no {part.needs}" for part in parts)
    return f"This Z-Waif differs from the releases that are known, so these features are off: {lacks}"


def _files(tree: Path, patterns: tuple[str, ...]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(tree.glob(pattern))]


def _holds(path: Path, pattern: str) -> bool:
    """Return whether a file matches. One that cannot be read may match: then nothing is said about it."""
    try:
        return re.search(pattern, bounded.read_text(path, errors="replace"), re.MULTILINE) is not None
    except (OSError, ValueError):
        return True
