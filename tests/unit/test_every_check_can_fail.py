"""Every check of ``doctor``, ``test`` and ``status``, shown failing: how it is made to, and what it says then."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.doctor_scene import GB, assert_useful, situation, z_waif
from tests.helpers.made_models import put_in_ollama, write_gguf
from tests.unit.test_cli import plain_console
from zwaif_fallback import demo
from zwaif_fallback.choosing import load_check, memory_fit
from zwaif_fallback.choosing.memory_fit import Abilities
from zwaif_fallback.cli import selftest, status, status_facts
from zwaif_fallback.cli.selftest import CannotCheck, Place, unused_port
from zwaif_fallback.doctor import servers
from zwaif_fallback.doctor.checks import CHECKS
from zwaif_fallback.doctor.child_process import HookState, Imported
from zwaif_fallback.errors import FallbackError
from zwaif_fallback.hardware import Memory
from zwaif_fallback.standin import copy_tree
from zwaif_fallback.ui import section
from zwaif_hooks import log

__all__ = ["plain_console"]
ON_THE_PROCESSOR = {"memory": lambda: Memory(16 * GB, 8 * GB)}
DEAD = "127.0.0.1:{}"


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(log, "log_path", lambda: tmp_path / "log" / "zwaif_fallback.log")
    for name in ("ZWAIF_BLOCK_PLUGINS", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)


# --- doctor -----------------------------------------------------------------------------------------------------------

Made = tuple[dict[str, str], dict[str, Any]]
"""What ``.env`` says, and what is different about the situation."""


def broken(library: str) -> Made:
    return {}, {"imports": {library: Imported(error="ImportError: DLL load failed")}}


def _file_for_a_folder(tmp_path: Path) -> Made:
    (tmp_path / "log").write_text("a file in its place")
    return {}, {}


def _an_error_in_the_log(tmp_path: Path) -> Made:
    log.note("The fallback failed", ValueError("boom"))
    return {}, {}


def _gguf(tmp_path: Path) -> Made:
    return {"API_FALLBACK_MODEL": str(write_gguf(tmp_path / "tiny.gguf"))}, {"versions": {"xllamacpp": None}}


def _gguf_without_a_server(tmp_path: Path) -> Made:
    return {"API_FALLBACK_MODEL": str(write_gguf(tmp_path / "tiny.gguf"))}, {"abilities": Abilities}


def _own_venv(tmp_path: Path) -> Made:
    tree = tmp_path / "z-waif"
    (tree / "venv").mkdir(parents=True)
    (tree / "venv" / "pyvenv.cfg").write_text("")
    return {}, {"prefix": tmp_path}


DOCTOR: Mapping[str, tuple[Callable[[Path], Made], str]] = {
    "zwaif": (lambda _: ({}, {"tree": None}), "no Z-Waif found"),
    "parts": (lambda _: ({}, {"lacks": "utils/zw_logging.py"}), "a feature is off"),
    "environment": (_own_venv, "this command runs in"),
    "hook": (lambda _: ({}, {"hook": lambda tree, environ: HookState(False)}), "start-up line is not active"),
    "switches": (lambda _: ({"API_FALLBACK_ENABLED": "OFF"}, {}), "API_FALLBACK_ENABLED is OFF"),
    "plugins": (lambda _: ({"ZWAIF_PLUGINS_DIR": "gone"}, {}), "ZWAIF_PLUGINS_DIR: no plugin of it is loaded"),
    "primary": (lambda _: ({"HOST_PORT": DEAD.format(unused_port())}, {}), "is down"),
    "restart": (lambda _: ({"API_FALLBACK_RESTART": "start 'it"}, {}), "nothing can be started"),
    "fallback_host": (lambda _: ({"API_FALLBACK_HOST": DEAD.format(unused_port())}, {}), "is down"),
    "model_name": (lambda _: ({"API_FALLBACK_MODEL": "two words"}, {}), "there is no model called 'two words'"),
    "model_files": (lambda _: ({"API_FALLBACK_MODEL": "someone/absent"}, {}), "is not on this computer yet"),
    "pictures": (lambda _: ({"API_FALLBACK_VISION_MODEL": "someone/absent"}, {}), "is not on this computer"),
    "memory": (
        lambda _: ({}, {"memory": lambda: Memory(GB, GB // 10)}),
        "free: 0.1 GB of memory, too little for a standby process",
    ),
    "speed": (lambda _: ({}, ON_THE_PROCESSOR), "a safetensors model on the processor"),
    "disk": (lambda _: ({}, {"free_bytes": lambda place: GB}), "1.0 GB free at"),
    "torch": (lambda _: broken("torch"), "cannot be imported: ImportError: DLL load failed"),
    "bitsandbytes": (lambda _: broken("bitsandbytes"), "does not work with this card"),
    "accelerate": (lambda _: ({}, {"versions": {"accelerate": None}}), "accelerate is not installed"),
    "llama": (_gguf, "xllamacpp, which runs GGUF models, is not installed"),
    "llama_server": (_gguf_without_a_server, "no llama-server for the graphics card (RTX 3060)"),
    "transformers": (lambda _: broken("transformers"), "transformers 4.50.3 cannot be imported"),
    "huggingface_hub": (lambda _: ({}, {"versions": {"huggingface_hub": "1.2.0"}}), "is newer than"),
    "gradio": (lambda _: broken("gradio"), "Gradio 4.36.1 cannot be imported"),
    "env_values": (lambda _: ({"API_FALLBACK_THREADS": "many"}, {}), "API_FALLBACK_THREADS is 'many'"),
    "env_names": (lambda _: ({"API_FALLBACK_ENABLD": "ON"}, {}), "did you mean API_FALLBACK_ENABLED?"),
    "log": (_file_for_a_folder, "cannot be written"),
    "errors": (_an_error_in_the_log, "The fallback failed"),
}


TELLS_ONLY = {"found_models"}
"""A count, which judges nothing: nobody chose those files."""


def test_the_table_has_every_check_of_doctor() -> None:
    assert list(DOCTOR) == [check.name for check in CHECKS if check.name not in TELLS_ONLY]


@pytest.mark.parametrize("name", DOCTOR)
def test_doctor(name: str, tmp_path: Path) -> None:
    make, text = DOCTOR[name]
    env, changes = make(tmp_path)
    look = next(check.look for check in CHECKS if check.name == name)
    changes = {"cards": None, **changes}
    tree = changes.pop("tree", "made")
    changes.pop("cards")
    lacks = changes.pop("lacks", "")
    made = None if tree is None else z_waif(tmp_path, **env)
    if made is not None and lacks:
        (made / lacks).unlink()
    finding = look(situation(made, **changes))
    assert finding.state in ("warning", "problem") and text in finding.found
    assert_useful(finding)


def test_doctor_knows_its_own_server_for_a_second_one(tmp_path: Path) -> None:
    look = next(check.look for check in CHECKS if check.name == "fallback_host")
    finding = look(situation(z_waif(tmp_path, HOST_PORT="127.0.0.1:5000", API_FALLBACK_HOST="http://localhost:5000")))
    assert finding.state == "warning" and "is your main server" in finding.found
    assert_useful(finding)


@pytest.mark.parametrize("free", [GB // 10])
def test_a_model_that_cannot_be_loaded_has_no_speed(free: int, tmp_path: Path) -> None:
    look = next(check.look for check in CHECKS if check.name == "speed")
    assert look(situation(z_waif(tmp_path), memory=lambda: Memory(GB, free))).state == "skipped"


# --- test -------------------------------------------------------------------------------------------------------------


def _unusable_value(place: Path, patch: pytest.MonkeyPatch) -> Path | None:
    return copy_tree(place / "z-waif", {"API_FALLBACK_STALL_TIMEOUT": "soon"})


def _broken_model(place: Path, patch: pytest.MonkeyPatch) -> Path | None:
    shutil.copytree(demo.MODEL, place / "broken", ignore=shutil.ignore_patterns("*.safetensors"))
    patch.setattr(selftest, "MODEL", place / "broken")
    return None


def _broken_choice(place: Path, patch: pytest.MonkeyPatch) -> Path | None:
    shutil.copytree(demo.MODEL, place / "cut")
    with (place / "cut" / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    return copy_tree(place / "z-waif", {"API_FALLBACK_MODEL": str(place / "cut")})


def _host_that_dies(place: Path, patch: pytest.MonkeyPatch) -> Path | None:
    tree = copy_tree(place / "z-waif", {})
    (tree / "main.py").write_text("raise SystemExit('no microphone found')\n", encoding="utf-8")
    return tree


def _switch_that_takes_anything(place: Path, patch: pytest.MonkeyPatch) -> Path | None:
    patch.setattr(selftest, "_refuses", lambda local, folder: False)
    return None


def _page_without_the_section(place: Path, patch: pytest.MonkeyPatch) -> Path | None:
    patch.setattr(section, "build", lambda *_: None)
    return None


def _broken_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZWAIF_PLUGINS_DIR", "gone")


TEST: Mapping[str, tuple[Callable[[Path, pytest.MonkeyPatch], Path | None], str]] = {
    "settings": (_unusable_value, "Correct that line in Z-Waif's .env"),
    "plugins": (_broken_plugin, "no plugin of it is loaded"),
    "engine": (_broken_model, "There are no weights"),
    "your model": (_broken_choice, "cannot be loaded now"),
    "controller integration": (_host_that_dies, "no microphone found"),
    "model switching": (_switch_that_takes_anything, "a model without weights was accepted"),
    "web UI": (_page_without_the_section, "the section lacks"),
}


def test_the_table_has_every_check_of_test() -> None:
    assert list(TEST) == [title for title, _ in selftest.CHECKS]


@pytest.mark.parametrize("title", TEST)
def test_test(title: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, text = TEST[title]
    tree = make(tmp_path, monkeypatch)
    (tmp_path / "scratch").mkdir()
    check = dict(selftest.CHECKS)[title]
    with pytest.raises(FallbackError, match=text) as caught:
        check(Place(tmp_path / "scratch", tree))
    assert not isinstance(caught.value, CannotCheck) and "\n" not in str(caught.value)


# --- status -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One way in which a line of ``status`` says that something is wrong."""

    text: str
    env: Mapping[str, str]
    answers: bool = False
    """Whether an outage would be answered all the same."""
    environ: Mapping[str, str] | None = None
    free: int = 8 * GB
    gguf: bool = True


MODEL = {"API_FALLBACK_MODEL": str(demo.MODEL)}
STATUS = {
    "server down": Row("is down: start it, or correct its address", {**MODEL, "HOST_PORT": "DEAD"}, True),
    "LM Studio down": Row("LM Studio is down: start it", {**MODEL, "API_TYPE": "LMStudio"}, True),
    "host down": Row("is down: start it, or correct the port", {"API_FALLBACK_HOST": "DEAD"}),
    "host without a port": Row("'127.0.0.1', but it must look like", {"API_FALLBACK_HOST": "127.0.0.1"}),
    "host is no address": Row("'some where', but it must look like", {"API_FALLBACK_HOST": "some where"}),
    "host is the server": Row(
        "is your main server", {"API_FALLBACK_HOST": "localhost:5000", "HOST_PORT": "127.0.0.1:5000"}
    ),
    "no model": Row("No model that can answer is on this computer yet", {}),
    "another model": Row("someone/absent is not on this computer yet", {"API_FALLBACK_MODEL": "someone/absent"}),
    "no name": Row("There is no model called 'two words'", {"API_FALLBACK_MODEL": "two words"}),
    "too big": Row("cannot be loaded now. It needs", MODEL, free=GB // 10),
    "no engine": Row(
        "cannot be loaded now. It needs one more package", {"API_FALLBACK_MODEL": "ollama:llama3.2:3b"},
        gguf=False,
    ),
    "torn file": Row("cannot be loaded now.", {"API_FALLBACK_MODEL": "models/torn.gguf"}),
    "switched off": Row("off: API_FALLBACK_ENABLED is OFF", {"API_FALLBACK_ENABLED": "OFF"}, True),
    "plugins off": Row("off: ZWAIF_PLUGINS is no", MODEL, True, environ={"ZWAIF_PLUGINS": "no"}),
    "blocked": Row("off: ZWAIF_BLOCK_PLUGINS has fallback", MODEL, True, environ={"ZWAIF_BLOCK_PLUGINS": "fallback"}),
    "unusable value": Row("Problem: API_FALLBACK_THREADS is 'many'", {**MODEL, "API_FALLBACK_THREADS": "many"}, True),
}  # fmt: skip


def _status(tree: Path, row: Row, patch: pytest.MonkeyPatch) -> tuple[str, bool]:
    patch.setattr(servers, "find_lmstudio", lambda: "")
    patch.setattr(memory_fit, "abilities", lambda: Abilities(gguf=row.gguf))
    patch.setattr(load_check, "abilities", lambda: Abilities(gguf=row.gguf))
    patch.setattr(load_check, "memory_now", lambda: Memory(16 * GB, row.free))
    facts = status_facts.status_facts(tree, {**os.environ, **(row.environ or {})})
    return "\n".join(status.status_lines(facts)), status_facts.can_answer(facts)


@pytest.mark.parametrize("name", STATUS)
def test_status(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = STATUS[name]
    if not row.gguf:
        put_in_ollama(tmp_path / "home/.ollama/models", "registry.ollama.ai/library/llama3.2/3b")
    dead = f"127.0.0.1:{unused_port()}"
    tree = copy_tree(tmp_path / "z-waif", {key: dead if value == "DEAD" else value for key, value in row.env.items()})
    torn = write_gguf(tree / "models" / "torn.gguf")
    torn.write_bytes(torn.read_bytes()[:200])
    shown, answers = _status(tree, row, monkeypatch)
    assert row.text in shown and answers is row.answers, shown


def test_status_where_all_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, answers = _status(copy_tree(tmp_path / "z-waif", MODEL), Row("", {}), monkeypatch)
    assert answers and f"Local model      {demo.MODEL}: on this computer" in shown
    assert "Environment " not in shown and "Problem:" not in shown


def test_status_run_elsewhere_than_z_waif(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = copy_tree(tmp_path / "z-waif", MODEL)
    (tree / "venv").mkdir()
    (tree / "venv" / "pyvenv.cfg").write_text("")
    shown, _ = _status(tree, Row("", {}), monkeypatch)
    assert f"Z-Waif in {tree / 'venv'}" in shown


def test_a_default_that_was_written_out_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reset to Defaults leaves such lines."""
    tree = copy_tree(tmp_path / "z-waif", {"API_FALLBACK_THREADS": "0", "API_FALLBACK_PRELOAD": "auto"})
    assert "All settings have their default values." in _status(tree, Row("", {}), monkeypatch)[0]


def test_status_finds_the_console_that_startup_sh_hides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = copy_tree(tmp_path / "z-waif", MODEL)
    lines = ["noise", *(f"[API] line {number}" for number in range(5)), "more noise"]
    (tree / "log.txt").write_text("\n".join(lines), encoding="utf-8")
    shown, _ = _status(tree, Row("", {}), monkeypatch)
    assert f"Last lines of the fallback on Z-Waif's console ({tree / 'log.txt'}):" in shown
    assert shown.endswith("[API] line 2\n[API] line 3\n[API] line 4")
