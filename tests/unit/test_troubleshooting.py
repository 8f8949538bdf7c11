"""docs/troubleshooting.md by its texts: every error of ours is in it, and every text in it is really said.

A new error text needs a line in the manual; a new line in the manual needs somebody here who produces it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path

import pytest

import tests.helpers
from tests.helpers.error_texts import ROOT, error_texts, fits, manual_texts
from tests.helpers.scenes import PRODUCERS, Scene
from zwaif_fallback import settings
from zwaif_fallback.errors import FallbackError
from zwaif_hooks import log
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings_store import SettingProblem

PAGE = ROOT / "docs" / "troubleshooting.md"
for module in pkgutil.iter_modules(tests.helpers.__path__, "tests.helpers."):
    if module.name.startswith("tests.helpers.scenes_"):
        import_module(module.name)  # registers its texts in PRODUCERS


def explained() -> list[str]:
    return manual_texts(PAGE.read_text(encoding="utf-8"))


def test_every_error_of_ours_is_in_the_manual() -> None:
    missing = [text for text in sorted(error_texts()) if not any(fits(entry, text) for entry in explained())]
    assert missing == [], "each needs a heading, or an 'also' line, in docs/troubleshooting.md"


def test_the_search_for_error_texts_finds_them() -> None:
    """The test above would pass if it found nothing."""
    found = error_texts()
    assert len(found) > 70
    for part in (
        "is read-only",
        "There is no setting",
        "not downloaded: offline mode",
        "is not a model name",
    ):
        assert any(part in text for text in found), part


def test_every_text_in_the_manual_has_somebody_who_says_it() -> None:
    assert sorted(explained()) == sorted(PRODUCERS)


@pytest.mark.parametrize("text", sorted(explained()))
def test_a_text_of_the_manual_is_really_said(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for setting in settings.SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(log, "log_path", lambda: tmp_path / "log" / "zwaif_fallback.log")
    monkeypatch.chdir(tmp_path)
    scene = Scene(tmp_path, monkeypatch)
    monkeypatch.setattr(log, "say", scene.say)
    try:
        scene.say(str(PRODUCERS[text](scene)))
    except (FallbackError, SettingProblem, env_file.EnvFileError) as error:
        scene.say(str(error))
    shown = [*scene.said, *capsys.readouterr()]
    assert any(fits(text, line) for line in shown), shown
