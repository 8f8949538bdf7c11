"""Who has no model is led to the best one by a short name; every command takes the names and numbers of the list."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.made_models import put_in_hub, put_in_ollama, write_gguf
from tests.unit.test_cli import brings, plain_console, run, zwaif
from zwaif_fallback.choosing import memory_fit, suggestions
from zwaif_fallback.choosing.memory_fit import Abilities
from zwaif_fallback.cli import download as cli_download
from zwaif_fallback.errors import ModelNotFound
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models import catalogue, short_names
from zwaif_fallback.models.search import find_models
from zwaif_hooks.host import env_file

__all__ = ["plain_console"]
GB = 1_000_000_000
QWEN = next(offer for offer in catalogue.OFFERS if offer.short == "qwen2.5-1.5b")
BEST = next(offer for offer in catalogue.OFFERS if offer.short == "lfm2.5-1.2b")


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A computer for which LFM2.5 1.2B is the best of the list."""
    monkeypatch.setattr(memory_fit, "abilities", Abilities)
    monkeypatch.setattr(suggestions, "abilities", Abilities)
    monkeypatch.setattr(suggestions, "memory_now", lambda: Memory(16 * GB, 8 * GB))
    monkeypatch.setattr(suggestions, "cpu_cores", lambda: 2)


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Names that were downloaded."""
    names: list[str] = []

    def download(name: str, say: Any, **others: Any) -> Path:
        names.append(name)
        return Path(brings(tmp_path)(name, say, **others))

    monkeypatch.setattr("zwaif_fallback.downloads.download.download", download)
    return names


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What the user types at a terminal."""

    def typed(text: str) -> None:
        monkeypatch.setattr(cli_download, "_can_ask", lambda: True)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return typed


# --- download alone ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "brought"),
    [
        ("\n", [BEST.name]),
        ("y\n", [BEST.name]),
        ("n\n", []),
        ("", []),  # the input ended
        ("gemma-3-4b\n", ["ggml-org/gemma-3-4b-it-GGUF:gemma-3-4b-it-Q4_K_M.gguf"]),
        ("1\n", [catalogue.DEFAULT]),
    ],
)
def test_download_alone_asks(
    text: str,
    brought: list[str],
    types: Callable[[str], None],
    asked_for: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    types(text)
    assert run("download") == 0
    said = capsys.readouterr().out
    assert "The best for this computer: lfm2.5-1.2b, LFM2.5 1.2B Instruct. Download: 0.73 GB." in said
    assert asked_for == brought
    assert ("Nothing was downloaded." in said) is (not brought)


def test_a_script_is_told_what_to_type(asked_for: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("download") == 1
    assert "To download it: zwaif-fallback download --yes" in capsys.readouterr().err
    assert run("download", "--yes") == 0
    assert run("download", "auto", "--yes", "--json") == 0
    assert asked_for == [BEST.name, BEST.name]


def test_no_model_fits(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(suggestions, "memory_now", lambda: Memory(GB, GB // 10))
    assert run("download", "--yes") == 1
    assert "no model of the list fits its memory" in capsys.readouterr().err


def test_what_would_be_better_with_one_more_package_is_told_before(
    asked_for: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (memory_fit, suggestions):
        monkeypatch.setattr(module, "abilities", lambda: Abilities(gguf=False))
    assert run("download", "--yes") == 0 and run("download", "qwen2.5-1.5b") == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "The best for this computer: lfm2.5-1.2b, LFM2.5 1.2B Instruct. It needs one more package: pip"
    )
    assert "Without that: tinyllama, TinyLlama 1.1B Chat. Download: 2.2 GB." in said
    assert f"{QWEN.name} needs one more package: pip install" in said
    assert asked_for == [catalogue.DEFAULT, QWEN.name]


@pytest.mark.parametrize(
    ("chosen", "next_step"),
    [
        ("", "It will answer whenever the LLM server does not."),
        ("someone/else", "API_FALLBACK_MODEL Qwen2.5-1.5B-Instruct"),
    ],
)
def test_after_a_download_the_next_step_is_told(
    chosen: str, next_step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = put_in_hub(tmp_path / "home/.cache/huggingface/hub", *QWEN.name.split(":"))
    monkeypatch.setattr("zwaif_fallback.downloads.download.download", brings(file))
    assert run("download", "qwen2.5-1.5b", "--zwaif", zwaif(tmp_path, API_FALLBACK_MODEL=chosen)) == 0
    assert next_step in capsys.readouterr().out


def test_nonsense_blames_no_setting(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["download", "qwen2.5"], ["bench", "qwen2.5"], ["chat", "Hi", "--model", "qwen2.5"]):
        assert run(*command) == 1
        said = capsys.readouterr().err
        assert said.startswith("There is no model called 'qwen2.5' on this computer")
        assert "Did you mean qwen2.5-1.5b?" in said
        assert "API_FALLBACK_MODEL" not in said and said.count("\n") == 1


# --- names and numbers ------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    put_in_ollama(tmp_path / "home/.ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    write_gguf(tmp_path / "home/.lmstudio/models/pub/Tiny-1B-GGUF/Tiny-1B-Q4_K_M.gguf")
    return tmp_path / "home"


def written(tree: Path, name: str) -> str:
    assert run("settings", "set", "API_FALLBACK_MODEL", name, "--zwaif", tree) == 0
    return env_file.read(tree / ".env")["API_FALLBACK_MODEL"]


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("llama3.2:3b", "ollama:llama3.2:3b"),
        ("LLAMA3.2:3B", "ollama:llama3.2:3b"),
        ("tiny-1b-q4_k_m", "lmstudio:pub/Tiny-1B-GGUF/Tiny-1B-Q4_K_M.gguf"),
        ("QWEN2.5-1.5b", QWEN.name),
        ("tinyllama", catalogue.DEFAULT),
        ("someone/else", "someone/else"),
        ("auto", "auto"),
    ],
)
def test_a_setting_takes_every_name_and_keeps_the_lasting_one(
    name: str, setting: str, home: Path, tmp_path: Path
) -> None:
    assert written(zwaif(tmp_path), name) == setting


def test_every_number_of_the_list_means_its_row(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree = zwaif(tmp_path)
    run("models", "--json", "--zwaif", tree)
    listed = json.loads(capsys.readouterr().out)
    rows = [row for row in (*listed["found"], *listed["offered"]) if "number" in row]
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1)) and len(rows) == 2 + len(
        catalogue.OFFERS
    ) - 1
    for row in rows:
        lasting = row.get("setting") or row["name"]
        assert written(tree, str(row["number"])) == written(tree, row["short"]) == lasting
    capsys.readouterr()
    run("models", "--zwaif", tree)
    shown = capsys.readouterr().out
    assert all(re.search(rf"^{row['number']}[*+=]?\s+{re.escape(row['short'])}\s", shown, re.M) for row in rows)
    assert run("settings", "set", "API_FALLBACK_MODEL", "99", "--zwaif", tree) == 2
    assert "The list of models has no number 99." in capsys.readouterr().err


def test_a_name_in_env_means_a_found_model(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("llama3.2:3b", "Tiny-1B-Q4_K_M"):
        assert run("status", "--zwaif", zwaif(tmp_path, API_FALLBACK_MODEL=name)) == 0
        assert f"Local model      {name}: on this computer" in capsys.readouterr().out


def test_the_best_for_this_computer_is_marked(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    said = capsys.readouterr().out
    assert re.search(r"^\d+\+ +lfm2\.5-1\.2b ", said, re.M)
    first = (
        "The best for this computer: lfm2.5-1.2b, LFM2.5 1.2B Instruct (download 0.73 GB; CPU only, about 27 tokens/s)"
    )
    assert f"To download\n{first}. To download it: zwaif-fallback download\n" in said


def test_without_the_engine_the_best_is_named_first_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in (memory_fit, suggestions):
        monkeypatch.setattr(module, "abilities", lambda: Abilities(gguf=False))
    assert run("models") == 0
    said = capsys.readouterr().out
    assert "To download\nThe best for this computer: lfm2.5-1.2b. It needs one more package: pip install" in said
    assert "Without that: tinyllama, TinyLlama 1.1B Chat (download 2.2 GB; " in said
    assert re.search(r"^\d+\+ +lfm2\.5-1\.2b ", said, re.M)
    run("status", "--zwaif", zwaif(tmp_path))
    said = capsys.readouterr().out
    assert "The best for it, LFM2.5 1.2B Instruct, 0.73 GB, needs one more package: pip install" in said
    monkeypatch.setattr(suggestions, "memory_now", lambda: Memory(4 * GB, 2 * GB))
    assert run("download", "--yes") == 1, "nothing fits that could be run now"
    assert "The best for it, LFM2.5 1.2B Instruct, 0.73 GB, needs one more package" in capsys.readouterr().err


def test_a_name_that_two_have_is_not_shown_and_not_taken(tmp_path: Path) -> None:
    own = tmp_path / "models"
    for folder in ("one", "two"):
        write_gguf(own / folder / "twin.gguf")
    write_gguf(own / "7.gguf")
    write_gguf(own / "tinyllama.gguf")
    models = find_models(None, str(own)).usable()
    settings = {model.setting for model in models}
    assert set(short_names.short_names(models)) == settings, "each would mean another model, or the number of a row"
    with pytest.raises(ModelNotFound, match=r"Several models are called twin\. Name one of these: .*one.*two"):
        short_names.find_called("twin", [model for model in models if model.path.stem == "twin"])
