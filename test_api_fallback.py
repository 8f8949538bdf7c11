"""Check that the fallback works.

    python test_api_fallback.py                   on a stand-in for Z-Waif, or the real one if run in its folder
    python test_api_fallback.py --zwaif FOLDER    on a copy of that Z-Waif
    pytest test_api_fallback.py                   each check as a test

Prints one line for each check: ``ok``, ``skipped``, or ``FAIL`` with the next step. The exit status is 1 if a check
failed. Your Z-Waif is copied and never changed, including its ``.env``. Run this with Z-Waif's own Python.
"""

from __future__ import annotations

import sys
import unittest
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
if (HERE / "zwaif_fallback").is_dir():  # a source checkout, installed or not
    sys.path[:0] = [str(HERE), str(HERE / "hooks")]

from zwaif_fallback.cli import selftest  # noqa: E402  (after the path)
from zwaif_fallback.zwaif_tree import zwaif_folder  # noqa: E402


def test_settings_are_sound_and_survive_in_env(tmp_path: Path) -> None:
    """Every value in ``.env`` is valid. A change is written to a copy of it, read back, and affects no other line."""
    _check(selftest.check_settings, tmp_path)


def test_the_engine_loads_a_real_model_and_speaks(tmp_path: Path) -> None:
    """The embedded model is loaded in its own process and generates a reply."""
    _check(selftest.check_engine, tmp_path)


def test_the_model_that_would_answer_is_loaded_and_speaks(tmp_path: Path) -> None:
    """The model in the settings, or the best on this computer; skipped if there is none."""
    _check(selftest.check_own_model, tmp_path)


def test_z_waif_answers_while_its_server_is_dead(tmp_path: Path) -> None:
    """In a real host process whose server does not exist, the fallback replies, and the host remembers the reply."""
    _check(selftest.check_controller, tmp_path)


def test_models_are_switched_while_one_is_speaking(tmp_path: Path) -> None:
    """A running reply finishes on its own model, and a failed switch keeps the old one."""
    _check(selftest.check_switching, tmp_path)


def test_the_settings_tab_has_the_section_and_its_test_button_generates(tmp_path: Path) -> None:
    """In a real Gradio page the switch works, and the test generates a reply."""
    _check(selftest.check_web_ui, tmp_path)


def _check(check: Callable[[selftest.Place], str], scratch: Path) -> None:
    try:
        print(check(selftest.Place(scratch, zwaif_folder(None))))
    except selftest.CannotCheck as reason:
        raise unittest.SkipTest(str(reason)) from reason  # pytest.skip would need pytest for a plain run too


if __name__ == "__main__":
    from zwaif_fallback.cli.main import main

    sys.exit(main(["test", *sys.argv[1:]]))
