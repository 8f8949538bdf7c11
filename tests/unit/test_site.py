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


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    built = build(ROOT / "docs", tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    index = (tmp_path / "index.html").read_text(encoding="utf-8")
    groups = re.findall(r'class="caption-text">([^<]+)<', index)
    assert groups[:2] == ["First minutes", "Everyday use"] and groups[-1] == "Reference"
    assert "Unreleased" in (tmp_path / "changes.html").read_text(encoding="utf-8")


def test_what_leads_nowhere_and_a_page_that_no_list_names_stop_the_build(tmp_path: Path) -> None:
    for page in ROOT.glob("*.md"):
        shutil.copy(page, tmp_path)
    docs = Path(shutil.copytree(ROOT / "docs", tmp_path / "docs"))
    (docs / "orphan.md").write_text("# In no list\n", encoding="utf-8")
    with (docs / "engines.md").open("a", encoding="utf-8") as page_end:
        page_end.write("\n[a](no-such-page.md) [b](models.md#no-such-heading) ![c](images/no-such-picture.png)\n")
    built = build(docs, tmp_path / "site")
    assert built.returncode != 0
    for complaint in ("no-such-page.md", "no-such-heading", "no-such-picture.png", "orphan.md"):
        assert complaint in built.stderr
