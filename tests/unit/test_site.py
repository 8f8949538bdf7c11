"""The documentation site: it builds without a warning, and a link that leads nowhere is one."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
OPTIONS = runpy.run_path(str(ROOT / "scripts" / "tasks.py"))["SITE"]
pytest.importorskip("sphinx")
pytestmark = pytest.mark.slow


def build(docs: Path, site: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", *OPTIONS, "--builder", "html", str(docs), str(site)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The pages, to be changed."""
    for page in ROOT.glob("*.md"):
        shutil.copy(page, tmp_path)
    return Path(shutil.copytree(ROOT / "docs", tmp_path / "docs"))


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = build(ROOT / "docs", tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    groups = re.findall(r'class="caption-text">([^<]+)<', index)
    assert groups[:2] == ["First minutes", "Everyday use"] and groups[-1] == "Reference"
    assert "Unreleased" in (tmp_path / "changes.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[gone](no-such-page.md)", "no-such-page.md"),
        ("[gone](models.md#no-such-heading)", "no-such-heading"),
        ("![gone](images/no-such-picture.png)", "no-such-picture.png"),
    ],
)
def test_what_leads_nowhere_stops_the_build(copy: Path, tmp_path: Path, text: str, complaint: str) -> None:
    page = copy / "engines.md"
    page.write_text(f"{page.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")
    built = build(copy, tmp_path / "site")
    assert built.returncode != 0
    assert complaint in built.stderr


def test_a_page_that_the_index_does_not_name_stops_the_build(copy: Path, tmp_path: Path) -> None:
    (copy / "orphan.md").write_text("# An orphan\n", encoding="utf-8")
    built = build(copy, tmp_path / "site")
    assert built.returncode != 0
    assert "orphan.md" in built.stderr
