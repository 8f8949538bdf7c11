"""The self-check's own judgement: what it says when something is wrong, and that it changes nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zwaif_fallback import demo
from zwaif_fallback.cli import selftest
from zwaif_fallback.cli.selftest import CannotCheck, CheckFailed, Place
from zwaif_fallback.errors import EngineError
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin import copy_tree


@pytest.fixture(autouse=True)
def plain_console(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [setting.name for setting in SETTINGS] + ["ZWAIF_DEBUG"]:
        monkeypatch.delenv(name, raising=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_one_line_each_and_the_exit_status(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def well(place: Place) -> str:
        assert place.scratch.is_dir() and not list(place.scratch.iterdir())
        return "all well"

    def broken(place: Place) -> str:
        raise EngineError("The engine stopped. Start it again.")

    def bug(place: Place) -> str:
        raise KeyError("oops")

    def absent(place: Place) -> str:
        raise CannotCheck("Gradio is not installed here")

    monkeypatch.setattr(selftest, "CHECKS", (("a", well), ("b", broken), ("c", bug), ("d", absent)))
    assert selftest.run(None) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["ok       a: all well", "FAIL     b: The engine stopped. Start it again."]
    assert lines[2].startswith("FAIL     c: KeyError: 'oops'.") and "ZWAIF_DEBUG=1" in lines[2]
    assert lines[3:] == ["skipped  d: Gradio is not installed here", "2 of 4 checks failed."]
    assert selftest.run(None, as_json=True) == 1
    facts = json.loads(capsys.readouterr().out)
    assert [row["state"] for row in facts["checks"]] == ["ok", "fail", "fail", "skipped"]
    assert facts["checks"][1] == {"check": "b", "state": "fail", "text": "The engine stopped. Start it again."}
    assert (facts["zwaif"], facts["can_answer"], facts["failed"]) == (None, False, 2)
    monkeypatch.setattr(selftest, "CHECKS", (("a", well), ("d", absent)))
    assert selftest.run(None) == 0


def test_an_unusable_value_in_env_fails_with_the_line_to_correct(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "z-waif", {"API_FALLBACK_STALL_TIMEOUT": "soon"})
    with pytest.raises(CheckFailed, match=r"API_FALLBACK_STALL_TIMEOUT is 'soon'.*Correct that line in Z-Waif's \.env"):
        selftest.check_settings(Place(tmp_path, tree))


def test_z_waif_itself_is_only_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = copy_tree(tmp_path / "z-waif", {"API_FALLBACK_MODEL": str(demo.MODEL)})
    before = contents(tree)
    checks = tuple(
        check for check in selftest.CHECKS if check[0] in ("settings", "your model", "controller integration")
    )
    monkeypatch.setattr(selftest, "CHECKS", checks)
    status, said = selftest.run(tree), capsys.readouterr().out
    assert status == 0, said
    assert contents(tree) == before
    assert f"a copy of {tree}" in said
    assert f"ok       your model: {demo.MODEL} loads in " in said
    assert said.endswith("\nThe fallback works here.\n")


@pytest.mark.parametrize(
    ("model", "line"),
    [
        ("", "No model that can answer is on this computer yet. Run: zwaif-fallback download"),
        ("someone/absent", "someone/absent is not on this computer yet"),
        ("two words", "API_FALLBACK_MODEL is 'two words'. There is no model called 'two words'"),
    ],
)
def test_without_a_model_nobody_is_told_that_the_fallback_works(
    model: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest, "CHECKS", (("your model", selftest.check_own_model),))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    assert selftest.run(copy_tree(tmp_path / "z-waif", {"API_FALLBACK_MODEL": model})) == 1
    said, last = capsys.readouterr().out.splitlines()
    assert said.startswith(f"skipped  your model: {line}")
    assert last.startswith("Everything works, but there is no model to answer yet")
    assert selftest.run(None) == 0, "the package itself works"


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise SystemExit('no microphone found')", "no microphone found"),
    ],
)
def test_what_a_host_died_of_is_in_the_line(code: str, word: str, tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "mine", {})
    (tree / "main.py").write_text(code + "\n", encoding="utf-8")
    with pytest.raises(CheckFailed) as caught:
        selftest.check_controller(Place(tmp_path, tree))
    assert str(caught.value).startswith(f"The host process ended. {word}. Run this with the Python of Z-Waif's own")
    assert "\n" not in str(caught.value)


def test_a_release_the_copy_cannot_be_started_of_is_skipped(tmp_path: Path) -> None:
    tree = copy_tree(tmp_path / "mine", {})
    (tree / "API" / "api_controller.py").unlink()
    with pytest.raises(CannotCheck, match=r"older than v1\.9"):
        selftest.check_controller(Place(tmp_path, tree))


def test_gradio_that_is_not_there_is_no_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selftest, "find_spec", lambda name: None)
    with pytest.raises(CannotCheck, match="Gradio is not installed here"):
        selftest.check_web_ui(Place(tmp_path))
