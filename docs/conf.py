"""Builds the site: ``./scripts/docs``. The pages are plain Markdown; everything special about the site is here."""

import re
from pathlib import Path

project = "zwaif-fallback"
html_title = project
language = "en"
extensions = ["myst_parser"]
exclude_patterns = ["examples"]
nitpicky = True
highlight_language = "none"
myst_heading_anchors = 3
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False

ROOT = Path(__file__).resolve().parent.parent
FROM_ROOT = {"changes": "CHANGELOG.md", "contributing": "CONTRIBUTING.md", "reporting": "SECURITY.md"}
"""Pages whose text is a file beside the README, where people look for it."""


def _prepare(app, docname, source):
    """Put the text of root files in place, and the sidebar onto the index page."""
    text = source[0]
    if docname in FROM_ROOT:
        text = re.sub(r"\]\((?=\w)(?!https?:)", "](../", (ROOT / FROM_ROOT[docname]).read_text(encoding="utf-8"))
        text = text.replace("](../docs/", "](")
    for page, name in FROM_ROOT.items():
        text = text.replace(f"](../{name}", f"]({page}.md")
    if docname == app.config.root_doc:
        text += "".join(_sidebar(text))
    source[0] = text


def _sidebar(index):
    """Each list of links on the index page, as a group of the sidebar under its heading."""
    for heading, section in re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", index, re.MULTILINE):
        pages = "\n".join(re.findall(r"^- .*?\]\(([\w-]+)\.md\)", section, re.MULTILINE))
        yield f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{pages}\n```\n"


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", _prepare)
