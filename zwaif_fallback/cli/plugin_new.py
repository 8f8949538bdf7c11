"""``plugins new``: makes a package with a plugin, its tests, and a workflow that runs them."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

from zwaif_fallback.errors import FallbackError
from zwaif_hooks.plugins.discovery import installed

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_PYPROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "zwaif-NAME"
version = "0.1.0"
description = "A Z-Waif plugin."
readme = "README.md"
license = "MIT"
requires-python = ">=3.10"
keywords = ["z-waif", "zwaif-plugin"]
dependencies = ["zwaif-fallback"]

[project.optional-dependencies]
test = ["mypy", "pytest"]

[project.entry-points.zwaif]
NAME = "MODULE"

[tool.setuptools]
py-modules = ["MODULE"]

[tool.mypy]
strict = true
"""

_MODULE = '''"""A Z-Waif plugin: while the LLM server is down, it answers messages that begin with its name."""

from __future__ import annotations

from collections.abc import Iterator

import zwaif_hooks as zw

NAME = "%s"


@zw.hooks.on_primary_failure
def answer(request: zw.ChatRequest, failure: zw.PrimaryFailure) -> Iterator[str] | None:
    """Return the reply in pieces. None leaves the message to the next plugin."""
    said = request.messages[-1].content
    if request.purpose is not zw.Purpose.CHAT or failure.delivered or not said.lower().startswith(NAME):
        return None
    return repeat(said[len(NAME) :].strip(" ,"))


def repeat(words: str) -> Iterator[str]:
    yield "You said: "
    yield f"{words or 'nothing'}."
'''

_TEST = '''"""The plugin, asked as Z-Waif would ask it."""

from __future__ import annotations

import MODULE

from zwaif_hooks.testing import ask, cut


def test_it_answers_when_it_is_called() -> None:
    reply = ask(MODULE, "NAME, hello")
    assert (reply.text, reply.errors) == ("You said: hello.", [])


def test_it_leaves_other_messages_alone() -> None:
    assert ask(MODULE, "How are you?").text == ""


def test_it_does_not_finish_what_others_began() -> None:
    assert ask(MODULE, "NAME, go on", cut("Once upon a time")).text == ""
'''

_README = """# zwaif-NAME

A plugin for [Z-Waif](https://github.com/SugarcaneDefender/z-waif). While the LLM server is down, it answers messages
that begin with "NAME".

Install it in Z-Waif's folder:

```bat
venv\\Scripts\\python -m pip install zwaif-NAME
```

On Linux and macOS: `venv/bin/python -m pip install zwaif-NAME`. To switch it off: `zwaif-fallback plugins block NAME`

What leaves the computer: nothing.

## Develop it

In this folder, with Z-Waif's environment active:

```sh
python -m pip install -e .[test]
python -m pytest
python -m mypy MODULE.py
zwaif-fallback plugins check NAME
zwaif-fallback plugins try NAME "NAME, hello"
```
"""

_WORKFLOW = """name: tests
on: [push, pull_request]
permissions:
  contents: read
jobs:
  tests:
    strategy:
      matrix:
        python: ["3.10", "3.13"]
    runs-on: ubuntu-latest
    timeout-minutes: 30
    steps:
      - uses: actions/checkout@v7
      - uses: actions/setup-python@v7
        with:
          python-version: ${{ matrix.python }}
          cache: pip
          cache-dependency-path: pyproject.toml
      - run: python -m pip install -e .[test]
      - run: python -m pytest
      - run: python -m mypy MODULE.py
      - run: zwaif-fallback plugins check NAME
"""

_FILES = {
    "pyproject.toml": _PYPROJECT,
    "MODULE.py": _MODULE,
    "tests/test_MODULE.py": _TEST,
    "README.md": _README,
    ".github/workflows/tests.yml": _WORKFLOW,
    ".gitignore": "*.egg-info/\n__pycache__/\nbuild/\ndist/\n",
}


def make(name: str, place: Path) -> Path:
    """Make the package of a plugin in ``place``, and return its folder.

    Raises:
        FallbackError: The name cannot be used, or there is such a folder.
    """
    name = name.removeprefix("zwaif-")
    module = "zwaif_" + name.replace("-", "_")
    if not _NAME.fullmatch(name):
        raise FallbackError(f"{name!r} is no name for a plugin: use lower-case letters, digits and hyphens.")
    if find_spec(module) is not None or name in {one.name for one in installed()}:
        raise FallbackError(f"There is already a plugin {name!r} or a module {module}. Choose another name.")
    folder = place / f"zwaif-{name}"
    if folder.exists():
        raise FallbackError(f"{folder} exists already. Choose another name, or another folder with --in.")
    for path, text in _FILES.items():
        file = folder / path.replace("MODULE", module)
        file.parent.mkdir(parents=True, exist_ok=True)
        filled = text % name if text is _MODULE else text.replace("MODULE", module).replace("NAME", name)
        file.write_text(filled, encoding="utf-8", newline="\n")
    return folder
