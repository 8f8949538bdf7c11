"""Doctor's checks of libraries, model and machine: each on a machine that is well, and on one that is not."""

from __future__ import annotations

import configparser
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.doctor_scene import GB, assert_useful, situation, z_waif
from tests.helpers.made_models import put_in_ollama, write_gguf
from zwaif_fallback import demo
from zwaif_fallback.choosing import memory_fit
from zwaif_fallback.choosing.memory_fit import Abilities
from zwaif_fallback.doctor import libraries, local_model
from zwaif_fallback.doctor.child_process import Imported
from zwaif_fallback.doctor.findings import Finding
from zwaif_fallback.doctor.libraries import numbers
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.hardware import Gpu, Memory
from zwaif_fallback.llama_servers import Device, LlamaProgram
from zwaif_fallback.models import catalogue

ROOT = Path(__file__).parents[2]
NO_CARD = Memory(32 * GB, 24 * GB)
BROKEN = Imported(error="ImportError: cannot import name 'HfFolder'")


@pytest.fixture(autouse=True)
def empty_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return z_waif(tmp_path)


# --- libraries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "changes", "state", "found", "remedy"),
    [
        (libraries.check_torch, {}, "ok", "sees the NVIDIA card", ""),
        (libraries.check_torch, {"versions": {"torch": None}}, "problem", "is not installed", "startup-Install.bat"),
        (libraries.check_torch, {"imports": {"torch": BROKEN}}, "problem", "cannot be imported", "pip uninstall"),
        (
            libraries.check_torch,
            {"imports": {"torch": Imported({"cuda": None})}},
            "warning",
            "built without CUDA, but there is an NVIDIA card (RTX 3060)",
            "startup-Install.bat",
        ),
        (
            libraries.check_torch,
            {"imports": {"torch": Imported({"cuda": "11.8", "available": False})}},
            "warning",
            "does not see the NVIDIA card",
            "driver",
        ),
        (
            libraries.check_torch,
            {"imports": {"torch": Imported({"cuda": None})}, "memory": lambda: NO_CARD},
            "ok",
            "PyTorch 2.7.1",
            "",
        ),
        (libraries.check_bitsandbytes, {}, "ok", "works with the card", ""),
        (
            libraries.check_bitsandbytes,
            {"versions": {"bitsandbytes": None}},
            "warning",
            "not installed",
            '"bitsandbytes>=',
        ),
        (
            libraries.check_bitsandbytes,
            {"versions": {"bitsandbytes": "0.41.1"}},
            "warning",
            "too old",
            '"bitsandbytes>=',
        ),
        (
            libraries.check_bitsandbytes,
            {"imports": {"bitsandbytes": Imported(error="RuntimeError: CUDA Setup failed")}},
            "warning",
            "does not work with this card: RuntimeError: CUDA Setup failed",
            "pip uninstall -y bitsandbytes",
        ),
        (
            libraries.check_bitsandbytes,
            {"versions": {"bitsandbytes": None}, "memory": lambda: NO_CARD},
            "ok",
            "not needed without an NVIDIA card",
            "",
        ),
        (libraries.check_accelerate, {}, "ok", "1.15.0", ""),
        (libraries.check_accelerate, {"versions": {"accelerate": "0.21.0"}}, "warning", "too old", '"accelerate>=0.26'),
        (libraries.check_accelerate, {"versions": {"accelerate": None}}, "warning", "not installed", '"accelerate>='),
        (libraries.check_transformers, {}, "ok", "4.50.3", ""),
        (libraries.check_transformers, {"versions": {"transformers": None}}, "problem", "not installed", "<4.51"),
        (libraries.check_transformers, {"versions": {"transformers": "5.23.0"}}, "warning", "outside", "<4.51"),
        (libraries.check_transformers, {"versions": {"transformers": "4.46.1"}}, "warning", "outside", ">=4.47"),
        (libraries.check_transformers, {"imports": {"transformers": BROKEN}}, "problem", "cannot be imported", "<4.51"),
        (libraries.check_hub, {}, "ok", "0.28.1", ""),
        (
            libraries.check_hub,
            {"versions": {"huggingface_hub": "2.4.0"}},
            "warning",
            "newer than",
            '"huggingface_hub<0.30"',
        ),
        (libraries.check_hub, {"versions": {"huggingface_hub": None}}, "problem", "not installed", "pip install"),
        (libraries.check_gradio, {}, "ok", "4.36.1", ""),
        (libraries.check_gradio, {"imports": {"gradio": BROKEN}}, "problem", "'HfFolder'", '"huggingface_hub<0.30"'),
        (
            libraries.check_gradio,
            {"versions": {"gradio": None}},
            "warning",
            "not installed",
            "Z-Waif's own environment",
        ),
    ],
)
def test_a_library(check: Any, changes: dict[str, Any], state: str, found: str, remedy: str, tree: Path) -> None:
    finding = check(situation(tree, **changes))
    assert finding.state == state
    assert found in finding.found and remedy in finding.remedy
    assert_useful(finding)


MISSING_DLL = Imported(error='OSError: [WinError 126] Error loading "C:\\venv\\torch\\lib\\c10.dll" or one of its')


@pytest.mark.parametrize(
    ("check", "library"),
    [
        (libraries.check_torch, "torch"),
        (libraries.check_transformers, "transformers"),
        (libraries.check_bitsandbytes, "bitsandbytes"),
        (libraries.check_gradio, "gradio"),
        (libraries.check_llama, "xllamacpp"),
    ],
)
def test_a_missing_runtime_of_windows_is_named(check: Any, library: str, tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf")
    tree = z_waif(tmp_path, API_FALLBACK_MODEL=str(tmp_path / "model.gguf"))
    finding = check(situation(tree, imports={library: MISSING_DLL}))
    assert finding.state in ("problem", "warning") and "c10.dll" in finding.found
    assert "Visual C++ Redistributable" in finding.remedy and "aka.ms/vs/17/release/vc_redist.x64.exe" in finding.remedy
    assert_useful(finding)


def test_no_z_waif_needs_no_gradio() -> None:
    assert libraries.check_gradio(situation(None, versions={"gradio": None})).state == "skipped"


def test_the_bounds_are_those_of_the_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    required = config["options"]["install_requires"].split()
    for name, bounds in libraries.BOUNDS.items():
        assert bounds.requirement(name).strip('"') in required


@pytest.mark.parametrize(
    ("version", "expected"), [("4.50.3", (4, 50, 3)), ("2.13.0+cpu", (2, 13, 0)), ("1.0.dev1", (1, 0, 1)), ("", ())]
)
def test_numbers(version: str, expected: tuple[int, ...]) -> None:
    assert numbers(version) == expected


# --- the model --------------------------------------------------------------------------------------------------------


def test_a_model_that_is_here(tree: Path) -> None:
    here = situation(tree)
    for check in (
        local_model.check_model_name,
        local_model.check_model_files,
        local_model.check_memory,
        local_model.check_disk,
    ):
        finding = check(here)
        assert finding.state == "ok", finding
    assert "11.0 GB on RTX 3060" in local_model.check_memory(here).found


def test_a_name_that_is_none(tmp_path: Path) -> None:
    here = situation(z_waif(tmp_path, API_FALLBACK_MODEL="two words"))
    finding = local_model.check_model_name(here)
    assert finding.state == "problem" and "'two words'" in finding.found
    assert "API_FALLBACK_MODEL is 'two words': there is no model called" in finding.found
    assert "zwaif-fallback models" in finding.remedy
    assert_useful(finding)
    assert local_model.check_model_files(here).state == "skipped"
    assert local_model.check_memory(here).state == "skipped"


def test_a_model_that_was_not_downloaded(tmp_path: Path) -> None:
    here = situation(z_waif(tmp_path, API_FALLBACK_MODEL=catalogue.DEFAULT))
    finding = local_model.check_model_files(here)
    assert finding.state == "problem" and "not on this computer yet (about 2.2 GB)" in finding.found
    assert "zwaif-fallback download tinyllama" in finding.remedy
    assert_useful(finding)


def test_a_model_that_is_here_is_named_beside_the_one_that_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = put_in_ollama(tmp_path / "store", "registry.ollama.ai/library/llama3.2/3b")
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "store"))
    tree = z_waif(tmp_path, API_FALLBACK_MODEL=catalogue.DEFAULT, API_TYPE="Ollama", ZW_OLLAMA_MODEL='"llama3.2:3b"')
    remedy = local_model.check_model_files(situation(tree)).remedy
    assert "Already on this computer: ollama:llama3.2:3b. To use it: zwaif-fallback settings set" in remedy
    (tree / ".env").write_text("API_FALLBACK_MODEL = ollama:llama3.2:3b\n", encoding="utf-8")
    found = local_model.check_model_files(situation(tree)).found
    assert found.startswith("ollama:llama3.2:3b is on this computer (") and str(blob) not in found


@pytest.mark.parametrize(
    ("leave_out", "found"), [("*.safetensors", "no weights"), ("none", "is not complete: model-00002-of-2.safetensors")]
)
def test_a_model_that_is_not_complete(leave_out: str, found: str, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(demo.MODEL, folder, ignore=shutil.ignore_patterns(leave_out))
    if leave_out == "none":
        (folder / "model.safetensors").rename(folder / "model-00001-of-2.safetensors")
        weights = {"a": "model-00001-of-2.safetensors", "b": "model-00002-of-2.safetensors"}
        index = folder / "model.safetensors.index.json"
        index.write_text(json.dumps({"weight_map": weights}), encoding="utf-8")
    finding = local_model.check_model_files(situation(z_waif(tmp_path, API_FALLBACK_MODEL=str(folder))))
    assert finding.state == "problem" and found in finding.found
    assert_useful(finding)


SMALL_CARD = (Gpu("GT 710", GB, GB // 10),)


@pytest.mark.parametrize(
    ("memory", "state", "found"),
    [
        (Memory(32 * GB, 24 * GB), "ok", "free: 24.0 GB of memory"),
        (Memory(32 * GB, 24 * GB, SMALL_CARD), "warning", "0.1 GB on GT 710"),
        (Memory(4 * GB, GB // 10, SMALL_CARD), "problem", "0.1 GB of memory, 0.1 GB on GT 710"),
        (Memory(4 * GB, GB // 10), "problem", "0.1 GB of memory"),
    ],
)
def test_memory(memory: Memory, state: str, found: str, tree: Path) -> None:
    finding = local_model.check_memory(situation(tree, memory=lambda: memory))
    assert finding.state == state and found in finding.found
    assert_useful(finding)


def test_a_model_kept_off_the_card_on_purpose_is_no_warning(tmp_path: Path) -> None:
    here = situation(z_waif(tmp_path, API_FALLBACK_DEVICE="cpu"))
    assert local_model.check_memory(here).state == "ok"


def test_the_disk(tmp_path: Path, tree: Path) -> None:
    nearly_full = local_model.check_disk(situation(tree, free_bytes=lambda place: GB))
    assert nearly_full.state == "warning"
    absent = z_waif(tmp_path / "other", API_FALLBACK_MODEL=catalogue.DEFAULT)
    full = local_model.check_disk(situation(absent, free_bytes=lambda place: GB))
    assert full.state == "problem" and "needs 2.2 GB" in full.found and "HF_HOME" in full.remedy
    for finding in (nearly_full, full):
        assert_useful(finding)


def speed(tree: Path, **changes: Any) -> Any:
    return local_model.check_speed(situation(tree, **changes))


def test_a_gguf_is_suggested_where_safetensors_would_run_on_the_processor(tmp_path: Path, tree: Path) -> None:
    assert speed(tree).state == "ok", "on the card"
    slow = speed(tree, memory=lambda: NO_CARD)
    assert slow.state == "warning" and "processor" in slow.found and "pip install" not in slow.remedy
    assert_useful(slow)
    without_engine = speed(tree, memory=lambda: NO_CARD, versions={"xllamacpp": None})
    assert "pip install xllamacpp" in without_engine.remedy
    forced = z_waif(tmp_path / "forced", API_FALLBACK_DEVICE="cpu")
    assert speed(forced).state == "warning", "kept off the card on purpose"


def test_a_gguf_on_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_gguf(tmp_path / "model.gguf")
    tree = z_waif(tmp_path, API_FALLBACK_MODEL=str(tmp_path / "model.gguf"))
    assert local_model.check_model_files(situation(tree)).state == "ok"
    assert speed(tree, memory=lambda: NO_CARD).state == "ok"
    monkeypatch.setattr(memory_fit, "GGUF_BANDWIDTH", 10.0)
    crawling = speed(tree, memory=lambda: NO_CARD)
    assert crawling.state == "warning" and "under 1 token/s" in crawling.found
    assert_useful(crawling)


def test_what_runs_a_gguf(tmp_path: Path, tree: Path) -> None:
    assert libraries.check_llama(situation(tree, versions={"xllamacpp": None})).state == "skipped", "not needed"
    write_gguf(tmp_path / "model.gguf")
    gguf = z_waif(tmp_path, API_FALLBACK_MODEL=str(tmp_path / "model.gguf"))
    assert libraries.check_llama(situation(gguf)).state == "ok"
    absent = libraries.check_llama(situation(gguf, versions={"xllamacpp": None}))
    broken = libraries.check_llama(situation(gguf, imports={"xllamacpp": Imported(error="ImportError: libgomp")}))
    for finding, found in ((absent, "is not installed"), (broken, "cannot be imported: ImportError: libgomp")):
        assert finding.state == "problem" and found in finding.found and "pip install xllamacpp" in finding.remedy
        assert_useful(finding)


def llama_server(tree: Path, **changes: Any) -> Finding:
    finding = libraries.check_llama_server(situation(tree, **{"abilities": Abilities, **changes}))
    assert_useful(finding)
    return finding


@pytest.mark.skipif(sys.platform == "darwin", reason="xllamacpp itself uses the card")
def test_what_runs_a_gguf_on_the_card(tmp_path: Path, tree: Path) -> None:
    asked: list[str] = []

    def found(wish: str, say: Any) -> LlamaProgram:
        asked.append(wish)
        devices = (Device("Vulkan0", "Vulkan", "RX 6800", 1), Device("Vulkan1", "Vulkan", "RX 550", 1))
        return LlamaProgram(Path("/jan/llama-server"), "Jan", "6800 (abc)", frozenset(), devices)

    def unusable(wish: str, say: Any) -> None:
        say("API_FALLBACK_LLAMA_SERVER: /mine is not used: it is too old.")

    assert llama_server(tree, find_llama_server=found).state == "skipped", "no GGUF model"
    file = str(write_gguf(tmp_path / "model.gguf"))
    gguf = z_waif(tmp_path, API_FALLBACK_MODEL=file)
    finding = llama_server(gguf, find_llama_server=found)
    assert finding.state == "ok"
    where = f"({Path('/jan/llama-server')}), on RX 6800 (Vulkan0), RX 550 (Vulkan1)"
    assert finding.found == f"llama-server 6800 from Jan {where}"
    assert llama_server(gguf, find_llama_server=unusable).found.endswith("/mine is not used: it is too old")
    assert "llama.cpp" in llama_server(gguf).remedy
    assert llama_server(gguf, memory=lambda: NO_CARD).state == "skipped"
    assert llama_server(gguf, find_llama_server=found, abilities=lambda: Abilities(gguf_cuda=True)).state == "skipped"
    for setting in ({"API_FALLBACK_LLAMA_SERVER": "off"}, {"API_FALLBACK_DEVICE": "cpu"}):
        off = z_waif(tmp_path / next(iter(setting)), API_FALLBACK_MODEL=file, **setting)
        assert llama_server(off, find_llama_server=found).state == "skipped"
    assert asked == ["auto"]


def test_a_gguf_that_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF, but not really")
    here = situation(z_waif(tmp_path, API_FALLBACK_MODEL=str(tmp_path / "model.gguf")))
    finding = local_model.check_model_files(here)
    assert finding.state == "problem" and "cannot be used" in finding.found
    assert_useful(finding)
    assert local_model.check_memory(here).state == local_model.check_speed(here).state == "skipped"


def test_a_situation_asks_the_real_machine() -> None:
    here = Situation(None, {})
    assert here.memory().ram_total > 0
    assert here.version_of("pytest") == pytest.__version__
    assert here.version_of("no-such-distribution") is None
