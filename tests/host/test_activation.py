"""The start-up line in real processes: seen by a Z-Waif, not by anybody else.

Each process runs in an environment as an installation leaves it (the line in a ``.pth`` file where that is the case,
else the same line through ``sitecustomize``).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback.standin.launch import ROOT, environment
from zwaif_hooks.host.tree import MARKERS

HEAVY = ("torch", "transformers", "gradio")
LATE = ("zwaif_hooks.bridge", "pluggy", "logging", "requests", "importlib.metadata", "zwaif_fallback")
"""What a process that is no Z-Waif must not have loaded because of us."""

FILES = {
    "main.py": "import utils.settings\nimport API.api_controller\n",
    "utils/settings.py": "char_name = 'Mia'\n",
    "API/api_controller.py": (
        "import requests\nrun_by = []\n"
        "def send_via_oogabooga(text):\n"
        "    uri = 'http://127.0.0.1:9/v1/chat/completions'\n"
        "    return requests.post(uri, json={'messages': [{'role': 'user', 'content': text}]}, verify=False)\n"
    ),
}
REPORT = """
import json, sys
from API import api_controller
import requests
guarded = hasattr(requests.Session.request, '_zwaif_guard_of')
watchers = sum(type(finder).__name__ == 'ImportWatcher' for finder in sys.meta_path)
heavy = [name for name in ('torch', 'transformers', 'gradio') if name in sys.modules]
loader = type(sys.modules['utils.settings'].__loader__).__name__
print(json.dumps({'guarded': guarded, 'watchers': watchers, 'heavy': heavy, 'loader': loader}))
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with the marker files and the least that a Z-Waif consists of."""
    root = tmp_path / "Z Waif é"
    for name in MARKERS:
        _write(root / name, "")
    for name, text in FILES.items():
        _write(root / name, text)
    _write(root / "main.py", FILES["main.py"] + "if __name__ == '__main__':\n    import report\n")
    _write(root / "report.py", REPORT)
    _write(root / ".env", "API_FALLBACK_PRELOAD=never\nHOST_PORT=127.0.0.1:9\n")
    return root


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {**environment(tmp_path / "site"), "XDG_STATE_HOME": str(tmp_path / "state"), "ZWAIF_BLOCK_PLUGINS": ""}


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def python(*arguments: str, cwd: Path, env: dict[str, str], exe: str = sys.executable) -> str:
    """What the process printed, errors first."""
    done = subprocess.run([exe, *arguments], cwd=cwd, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr + done.stdout


def environment_with_the_line(home: Path) -> tuple[str, dict[str, str]]:
    """A virtual environment with nothing in it but the start-up line: its Python, and variables to run it with."""
    venv.create(home, with_pip=False, symlinks=os.name != "nt")
    exe = str(home / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ZWAIF"))}
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_folder = Path(python("-c", code, cwd=home, env=clean, exe=exe).strip())
    _write(site_folder / "a_source_checkout.pth", f"{ROOT / 'hooks'}\n")
    _write(site_folder / "zwaif_hooks.pth", (ROOT / "zwaif_hooks.pth").read_text(encoding="utf-8"))
    return exe, clean


def last(output: str) -> Any:
    """The JSON that the process printed; our own lines may stand around it."""
    return next(json.loads(line) for line in output.splitlines() if line.startswith("{"))


# --- Z-Waif ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "start",
    [["main.py"], ["-m", "main"], ["-c", "import main, report"], ["-c", "import API.api_controller, main, report"]],
    ids=["script", "module", "import", "controller-first"],
)
def test_a_z_waif_is_guarded_however_it_is_started(tree: Path, env: dict[str, str], start: list[str]) -> None:
    state = last(python(*start, cwd=tree, env=env))
    assert state == {"guarded": True, "watchers": 1, "heavy": [], "loader": "SourceFileLoader"}


def test_it_is_guarded_from_any_working_directory(tree: Path, env: dict[str, str], tmp_path: Path) -> None:
    assert last(python(str(tree / "main.py"), cwd=tmp_path, env=env))["guarded"]


def test_switched_off_there_is_nothing_of_ours(tree: Path, env: dict[str, str]) -> None:
    state = last(python("main.py", cwd=tree, env={**env, "ZWAIF_PLUGINS": "OFF"}))
    assert state["guarded"] is False
    assert state["watchers"] == 0


def test_the_user_is_told_at_once_that_the_server_is_not_there(tree: Path, env: dict[str, str]) -> None:
    _write(
        tree / "report.py",
        "import threading\nfor t in threading.enumerate():\n    t.name == 'zwaif-plugins' and t.join(30)\n",
    )
    out = python("main.py", cwd=tree, env=env)
    (line,) = [line for line in out.splitlines() if "127.0.0.1:9 " in line]
    assert "is down" in line


def test_a_plugin_that_breaks_at_import_does_not_break_z_waif(tree: Path, env: dict[str, str], tmp_path: Path) -> None:
    info = tmp_path / "more" / "bad-1.0.dist-info"
    _write(info / "METADATA", "Metadata-Version: 2.1\nName: bad\nVersion: 1.0\n")
    _write(info / "entry_points.txt", "[zwaif]\nbad = bad_plugin\n")
    _write(tmp_path / "more" / "bad_plugin.py", "raise SystemExit(7)\n")
    out = python(
        "main.py", cwd=tree, env={**env, "PYTHONPATH": f"{tmp_path / 'more'}{os.pathsep}{env.get('PYTHONPATH', '')}"}
    )
    assert last(out)["guarded"]
    (line,) = [line for line in out.splitlines() if "'bad'" in line]
    assert "SystemExit" in line


def test_a_console_that_cannot_show_every_character(tree: Path, env: dict[str, str]) -> None:
    assert last(python("main.py", cwd=tree, env={**env, "PYTHONUTF8": "0", "PYTHONIOENCODING": "cp1252"}))["guarded"]


# --- everybody else --------------------------------------------------------------------------------------------------

LOADED = f"import sys; print([name for name in {(*LATE, *HEAVY)!r} if name in sys.modules])"


def test_another_process_loads_nothing_more(tmp_path: Path, env: dict[str, str]) -> None:
    assert python("-c", LOADED, cwd=tmp_path, env=env).strip() == "[]"


@pytest.mark.parametrize("name", ["main", "utils", "API"])
def test_a_project_with_one_of_the_names_is_left_alone(tmp_path: Path, env: dict[str, str], name: str) -> None:
    _write(tmp_path / "project" / f"{name}.py", "answer = 42\n")
    code = f"import {name}; assert {name}.answer == 42; {LOADED}"
    assert python("-c", code, cwd=tmp_path / "project", env=env).strip() == "[]"


def test_a_project_with_half_of_the_markers_is_not_z_waif(tmp_path: Path, env: dict[str, str]) -> None:
    for name in MARKERS[:6]:
        _write(tmp_path / name, "")
    _write(tmp_path / "main.py", LOADED)
    assert python("-c", "import main", cwd=tmp_path, env=env).strip() == "[]"


def test_a_working_directory_that_is_gone(tmp_path: Path, env: dict[str, str]) -> None:
    if os.name == "nt":
        pytest.skip("Windows does not let a folder in use be removed")
    leave = "import os, sys; os.rmdir(os.getcwd()); sys.path.insert(0, '')"
    code = f"{leave}; import json, decimal\ntry:\n    import main\nexcept ImportError:\n    print('none')"
    gone = tmp_path / "gone"
    gone.mkdir()
    assert python("-c", code, cwd=gone, env=env).strip() == "none"


@pytest.mark.parametrize("flag", ["-I", "-S", "-E", "-O", "-OO", "-B"])
def test_the_interpreter_starts_under_every_flag(tmp_path: Path, env: dict[str, str], flag: str) -> None:
    assert python(flag, "-c", "print('up')", cwd=tmp_path, env=env).strip() == "up"


# --- a real site folder ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_line_in_a_virtual_environment(tmp_path: Path) -> None:
    """As pip installs it: the line runs for the environment and, in many, a second time."""
    exe, clean = environment_with_the_line(tmp_path / "venv")
    count = (
        "import sys; print(sum(type(f).__name__ == 'ImportWatcher' for f in sys.meta_path), 'pluggy' in sys.modules)"
    )
    assert python("-c", count, cwd=tmp_path, env=clean, exe=exe).split() == ["1", "False"]
    off = {**clean, "ZWAIF_PLUGINS": "OFF"}
    assert python("-c", count, cwd=tmp_path, env=off, exe=exe).split() == ["0", "False"]


@pytest.mark.slow
def test_an_environment_without_our_requirements_still_runs_z_waif(tmp_path: Path, tree: Path) -> None:
    """A half uninstalled package: the line is there, pluggy is not. One line says so, and Z-Waif starts."""
    exe, clean = environment_with_the_line(tmp_path / "venv")
    code = "import utils.settings, utils.web_ui; print(utils.settings.char_name)"
    out = python("-c", code, cwd=tree, env={**clean, "XDG_STATE_HOME": str(tmp_path)}, exe=exe)
    assert out.splitlines()[-1] == "Mia"
    (line,) = [line for line in out.splitlines() if "zwaif-fallback" in line]
    assert "could not start" in line


def test_the_line_and_its_twin_name_the_same_function() -> None:
    line = (ROOT / "zwaif_hooks.pth").read_text(encoding="utf-8").strip()
    twin = (ROOT / "zwaif_hooks.start").read_text(encoding="utf-8").strip()
    module, function = twin.split(":")
    assert line == f"import {module}; {module}.{function}()"
