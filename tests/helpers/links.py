"""Symbolic links in tests: on Windows a user needs a privilege or developer mode to make one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest


def link(place: Path, target: Path) -> None:
    """Make ``place`` lead to ``target``; skips the test where this user may not."""
    if not _linked(place, target):
        pytest.skip("this user may make no symbolic links")


def link_or_copy(place: Path, target: Path) -> None:
    """As the Hugging Face library does: a copy of the file where no link can be made."""
    if not _linked(place, target):
        place.unlink(missing_ok=True)
        shutil.copyfile(place.parent / target, place)


def _linked(place: Path, target: Path) -> bool:
    """Whether there is a link now; some systems (Wine) make something else and say nothing."""
    try:
        place.symlink_to(target, target_is_directory=(place.parent / target).is_dir())
    except OSError:
        return False
    return place.is_symlink()
