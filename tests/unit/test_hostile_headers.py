"""A file that nobody chose costs the list of models one line and a moment, whatever is in it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.helpers.doctor_scene import situation, z_waif
from tests.helpers.hostile_models import folders, gguf_bombs, gguf_files
from tests.helpers.made_models import write_gguf, write_safetensors
from zwaif_fallback.choosing.memory_fit import fit
from zwaif_fallback.doctor import local_model as doctor_model
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models import facts_cache
from zwaif_fallback.models.facts import ModelFacts
from zwaif_fallback.models.gguf_facts import read_gguf
from zwaif_fallback.models.program_folders import Machine
from zwaif_fallback.models.search import Findings, find_models

ROOM = Memory(8 << 30, 4 << 30)
MOST_SECONDS = 1.5
"""Of processor time for one file: about 0.05 on an ordinary machine, and a quarter of a second on the slowest."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    facts_cache.forget()
    write_safetensors(tmp_path / "models" / "good")
    write_gguf(tmp_path / "models" / "fine.gguf")
    return tmp_path


def look(home: Path) -> tuple[Findings, float]:
    begun = time.thread_time()
    findings = find_models(home, str(home / "models"), Machine("Linux", home / "home", {}))
    return findings, time.thread_time() - begun


def check(home: Path) -> None:
    """The good ones are listed, and every row can be shown."""
    findings, seconds = look(home)
    assert {"good", "fine"} <= {model.name for model in findings.usable()}
    for model in findings.models:
        facts = model.facts
        shown = f"{fit(facts, ROOM).text} {facts.parameters / 1e9:.2g} {facts.size / 1e9:.1f} {facts.window:,}"
        assert (shown + facts.problem + facts.title + facts.architecture).isprintable()
    assert all(line.isprintable() for line in findings.skipped)
    assert seconds < MOST_SECONDS
    assert look(home)[1] < MOST_SECONDS / 5, "what is wrong with a file is found out once"


@pytest.mark.parametrize(("name", "content"), list(gguf_files()))
def test_a_gguf_file_that_nobody_chose_breaks_nothing(name: str, content: bytes, home: Path) -> None:
    (home / "models" / "bad.gguf").write_bytes(content)
    check(home)


@pytest.mark.parametrize(("name", "make"), list(gguf_bombs()))
def test_a_gguf_file_that_is_much_work_is_given_up_in_time(name: str, make: Callable[[], bytes], home: Path) -> None:
    (home / "models" / "bad.gguf").write_bytes(make())
    check(home)


@pytest.mark.parametrize(("name", "files"), list(folders()))
def test_a_folder_that_nobody_chose_breaks_nothing(name: str, files: Mapping[str, bytes], home: Path) -> None:
    (home / "models" / "bad").mkdir()
    for file, content in files.items():
        (home / "models" / "bad" / file).write_bytes(content)
    check(home)


def test_what_is_wrong_with_it_is_one_line_of_the_doctor_s(tmp_path: Path) -> None:
    facts_cache.forget()
    tree = z_waif(tmp_path, FALLBACK_MODEL_DIR="models")
    write_gguf(tree / "models" / "fine.gguf")
    (tree / "models" / "cat-video.gguf").write_bytes(b"GGUF" + bytes(200))
    finding = doctor_model.check_found_models(situation(tree))
    assert finding.state == "ok" and "1 file was left out" in finding.found
    (line,) = finding.details
    assert line.startswith(str(tree / "models" / "cat-video.gguf") + ": ")


def test_a_reader_that_fails_as_nobody_foresaw_costs_its_own_file_only(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError("1 // 0")

    monkeypatch.setattr(facts_cache, "read_gguf", fail)
    findings, _ = look(home)
    assert [model.name for model in findings.models] == ["good"]
    assert [line.rpartition(": ")[2] for line in findings.skipped] == ["it cannot be understood (ZeroDivisionError)"]


def test_many_slow_files_take_two_seconds_together_and_the_next_look_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]

    def slow(path: Path) -> ModelFacts:
        clock[0] += 1.2
        return read_gguf(path)

    monkeypatch.setattr(facts_cache, "read_gguf", slow)
    for number in range(5):
        write_gguf(home / "models" / f"a{number}.gguf")

    def search() -> Findings:
        return find_models(home, str(home / "models"), Machine("Linux", home / "home", {}), lambda: clock[0])

    first = search()
    assert len(first.models) == 2
    assert first.skipped == ["5 more files were not read yet, because the others took long: search again"]
    assert [len(search().models) for _ in range(3)] == [4, 6, 7]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer_config.json", "model.safetensors", "model.safetensors.index.json"]
)
def test_a_pipe_among_a_model_s_files_holds_up_nobody(name: str, home: Path) -> None:
    folder = write_safetensors(home / "models" / "bad")
    if name.endswith("index.json"):
        (folder / "model.safetensors").unlink()
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    check(home)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes in folders")
def test_pipes_in_the_places_of_other_programs_hold_up_nobody(home: Path) -> None:
    user = home / "home"
    for place in (
        ".lmstudio-home-pointer",
        ".lmstudio/settings.json",
        ".config/nomic.ai/GPT4All.ini",
        "Downloads/x.gguf",
    ):
        (user / place).parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(user / place)
    refs = user / ".cache/huggingface/hub/models--a--b/refs"
    refs.mkdir(parents=True)
    os.mkfifo(refs / "main")
    manifests = user / ".ollama/models/manifests/registry.ollama.ai/library/x"
    manifests.mkdir(parents=True)
    (manifests / "latest").write_bytes(b"[" * 100_000)
    check(home)
