"""The environment for a host process: as on a user's computer, with the package installed."""

from __future__ import annotations

import os
import site
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_START = "import zwaif_hooks.startup\n\nzwaif_hooks.startup.activate()\n"
_ENTRY_POINTS = "[zwaif]\nfallback = zwaif_fallback.plugin\n"
_METADATA = "Metadata-Version: 2.1\nName: zwaif-fallback\nVersion: 0\n"


def environment(scratch: Path) -> dict[str, str]:
    """Return environment variables for a Python process in which the package is active.

    If it is installed, nothing needs to be added. In a source checkout, the files that an installation adds (start-up
    line, entry point) are written to ``scratch``, which goes on ``PYTHONPATH``.
    """
    env = {**os.environ, "PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1"}
    if _is_installed():
        return env
    info = scratch / "zwaif_fallback-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(_METADATA, encoding="utf-8")
    (info / "entry_points.txt").write_text(_ENTRY_POINTS, encoding="utf-8")
    # Not a .pth file: those work only in site folders, not in folders that are merely on the path.
    (scratch / "sitecustomize.py").write_text(_START, encoding="utf-8")
    parts = [str(scratch), str(ROOT), str(ROOT / "hooks"), env.get("PYTHONPATH", "")]
    env["PYTHONPATH"] = os.pathsep.join(part for part in parts if part)
    return env


def _is_installed() -> bool:
    """Whether this Python runs the start-up line by itself; metadata alone may belong to a source checkout."""
    folders = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), site.getusersitepackages()]
    return any((Path(folder) / "zwaif_hooks.pth").is_file() for folder in folders)
