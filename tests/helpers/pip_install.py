"""Installs an example as a user would, without the network."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path


def installed_by_pip(project: Path, scratch: Path) -> Path:
    """Build and install ``project`` with pip; the folder it was installed in."""
    source, target = scratch / f"{project.name}-source", scratch / "site-of-plugins"
    shutil.copytree(project, source)
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target
