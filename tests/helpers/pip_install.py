"""Installs plugin packages as a user would, without the network."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

needs_pip = pytest.mark.skipif(
    importlib.util.find_spec("pip") is None or importlib.util.find_spec("setuptools") is None,
    reason="building without the network needs pip and setuptools in this environment",
)


def installed_by_pip(scratch: Path, *projects: Path) -> Path:
    """Build copies of ``projects`` and install them with pip, all at once. Return the folder they are installed in."""
    copies = [str(shutil.copytree(project, scratch / "sources" / project.name)) for project in projects]
    target = scratch / "site"
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check"]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", *offline, "--target", str(target), *copies],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return target
