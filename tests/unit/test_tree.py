"""Z-Waif is recognised by its files, quickly, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from zwaif_hooks.host import tree


def build(root: Path, without: tuple[str, ...] = ()) -> Path:
    for marker in tree.MARKERS:
        if marker not in without:
            (root / marker).parent.mkdir(parents=True, exist_ok=True)
            (root / marker).touch()
    return root


@pytest.mark.parametrize("module", ["main.py", "utils/settings.py", "utils/added_later.py", "API/ollama_api.py"])
def test_a_module_in_its_place_leads_to_the_root(tmp_path, module):
    assert tree.find_tree(build(tmp_path) / module) == str(tmp_path)
    assert tree.find_tree(str(tmp_path / module)) == str(tmp_path)


@pytest.mark.parametrize(
    "module", ["other.py", "utils/windows/voice.py", "venv/lib/utils/settings.py", "lib/main.py", "main.txt", ""]
)
def test_other_places_in_the_tree_do_not(tmp_path, module):
    build(tmp_path)
    assert tree.find_tree(str(tmp_path / module) if module else "") is None


@pytest.mark.parametrize("missing", range(len(tree.MARKERS)))
def test_a_fork_may_lack_two_files(tmp_path, missing):
    gone = (tree.MARKERS[missing], tree.MARKERS[(missing + 3) % len(tree.MARKERS)])
    assert tree.find_tree(build(tmp_path, gone) / "main.py") == str(tmp_path)


def test_half_of_the_markers_are_not_z_waif(tmp_path):
    build(tmp_path, tree.MARKERS[len(tree.MARKERS) // 2 :])
    assert tree.find_tree(tmp_path / "main.py") is None


@pytest.mark.parametrize("files", [["main.py"], ["main.py", "utils/web_ui.py", "utils/settings.py", "API/x.py"]])
def test_the_names_alone_prove_nothing_and_cost_two_looks(tmp_path, monkeypatch, files):
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()
    looks: list[str] = []
    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda path: looks.append(path) or exists(path))
    assert tree.find_tree(tmp_path / "main.py") is None
    assert len(looks) <= 2


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(build(tmp_path))
    assert tree.find_tree("main.py") == str(tmp_path)


def test_the_file_imports_nothing_that_python_has_not_loaded():
    code = (
        "import os, sys; before = set(sys.modules)\n"
        "source = open(sys.argv[1], encoding='utf-8').read()\n"
        "exec(compile(source, 'tree', 'exec'))\n"
        "print(sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(tree.__file__)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert result.stdout.strip() in ("[]", "['__future__']")
