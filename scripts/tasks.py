"""What the scripts beside this file do, the same on every system.

The start scripts (``task`` and ``task.bat``) find a Python and run this file with it, before anything is installed:
so only the standard library is imported here.

Environment variables:
    ZWAIF_VENV: another place for the environment than ``.venv``.
    ZWAIF_EXTRAS: what to install beside the package: ``test`` unless told otherwise, ``test,browser`` for the browser
        tests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / (os.environ.get("ZWAIF_VENV") or ".venv")
EXTRAS = os.environ.get("ZWAIF_EXTRAS") or "test"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

OLDEST, NEWEST = (3, 10), (3, 13)
TORCH = "torch==2.13.0"
"""Known to work; where it cannot be had (another Python, say), any that the package takes will do."""
PLATFORMS = ("linux", "darwin", "win32")
TAKE_SECONDS = (
    *("addresses", "bench", "benchmarks_alive", "benchmarks_models", "build", "captioner", "cli", "cli_names"),
    *("cli_selftest", "console", "corpus", "every_check_can_fail", "files", "fuzz", "hostile_headers"),
    *("local_model", "one_table", "plugin", "remote", "settings_hand_edits", "template_client", "troubleshooting"),
)
"""Modules of unit tests that start programs, read ten thousand replies or build Z-Waif's page."""
QUICK = ("tests/unit", "-m", "not slow", *(f"--ignore=tests/unit/test_{name}.py" for name in TAKE_SECONDS))
"""What pytest runs while somebody works; the rest takes ten minutes."""
TYPED = ("zwaif_fallback", "hooks/zwaif_hooks", "test_api_fallback.py", "scripts/tasks.py")


def suits() -> bool:
    """Whether this Python can run the package: PyTorch is made for these versions, and for 64 bits only."""
    return OLDEST <= sys.version_info[:2] <= NEWEST and sys.maxsize > 2**32


def setup() -> None:
    """Make the environment and install this checkout into it, editable. Does nothing when that is done."""
    ready = VENV / f".ready-for-{EXTRAS}"
    if ready.is_file() and ready.stat().st_mtime > (ROOT / "setup.cfg").stat().st_mtime:
        return
    print(f"Setting up {VENV} (once; a few minutes, most of them for PyTorch) ...", flush=True)
    if not PYTHON.is_file():
        _must([sys.executable, "-m", "venv", str(VENV)])
    if _status([str(PYTHON), "-c", "import torch"], stderr=subprocess.DEVNULL) and _status(_pip(TORCH)):
        _must(_pip("torch"))
    if status := _status(_pip("--editable", f".[{EXTRAS}]")):
        if EXTRAS == "test":
            sys.exit(status)
        print(f'Not all of "{EXTRAS}" could be installed; going on with what the other tests need.', file=sys.stderr)
        _must(_pip("--editable", ".[test]"))
    ready.touch()


def lint(*options: str) -> None:
    """Style, formatting, and types for each system. ``fix`` mends what can be mended first."""
    setup()
    if options == ("fix",):
        _status(_module("ruff", "check", "--fix", "."))  # what is left is said below
        _must(_module("ruff", "format", "."))
    _lint_for(PLATFORMS)


def _lint_for(platforms: Sequence[str]) -> None:
    _must(_module("ruff", "check", "."))
    _must(_module("ruff", "format", "--check", "."))
    for name in platforms:
        print(f"mypy for {name}: ", end="", flush=True)
        _must(_module("mypy", "--platform", name, "--cache-dir", f".mypy_cache/{name}", *TYPED))


def test(*options: str) -> None:
    """Style, types and everything that pytest finds.

    With ``--quick`` first: style, types for this system, and the unit tests that take no seconds. With ``--coverage``
    first: all tests, while it is measured which lines they run; that takes half as long again.
    """
    if options[:1] == ("--quick",):
        setup()
        _lint_for([sys.platform])
        options = (*QUICK, *options[1:])
    elif options[:1] == ("--coverage",):
        setup()
        options = ("--cov", "--cov-report=term:skip-covered", *options[1:])
    else:
        lint()
    _become(_module("pytest", *options))


def docs(*options: str) -> None:
    """Write the pages that come from the code, and build the site into ``build/site``.

    With ``--check`` no page is written; the task fails if one differs from the code. With ``--links`` the addresses
    outside the site are checked as well, which needs the network.
    """
    setup()
    for page, module in PAGES.items():
        _write_page(ROOT / "docs" / page, module, check="--check" in options)
    _must(_module("sphinx", *SITE, "--builder", "html", "docs", "build/site"))
    print(f"The site: {(ROOT / 'build/site/index.html').as_uri()}")
    if "--links" in options:
        _must(_module("sphinx", *SITE, "--builder", "linkcheck", "docs", "build/links"))


def _write_page(page: Path, module: str, check: bool) -> None:
    code = f"from {module} import as_markdown; import sys; sys.stdout.buffer.write(as_markdown().encode())"
    written = subprocess.run([PYTHON, "-c", code], check=True, stdout=subprocess.PIPE).stdout
    if check and page.read_bytes() != written:
        sys.exit(f"{page.name} is not as the code has it. Run: scripts/docs")
    if not check:
        page.write_bytes(written)


def demo(*options: str) -> None:
    """The outage, played before your eyes."""
    setup()
    _become(_module("zwaif_fallback", "demo", *options))


SITE = ("--fresh-env", "--quiet", "--fail-on-warning", "--keep-going")
"""A link that leads nowhere, or a page that is in no list of the index page, is a warning, and so an error."""
PAGES = {
    "settings.md": "zwaif_fallback.settings",
    "cli.md": "zwaif_fallback.cli.manual",
    "model-list.md": "zwaif_fallback.models.catalogue_page",
}
TASKS: dict[str, Callable[..., None]] = {task.__name__: task for task in (setup, lint, test, docs, demo)}


def _pip(*what: str) -> list[str]:
    return _module("pip", "--disable-pip-version-check", "install", "--quiet", *what)


def _module(*words: str) -> list[str]:
    return [str(PYTHON), "-m", *words]


def _status(command: list[str], stderr: int | None = None) -> int:
    """Run it and return its exit status. It hears of Ctrl+C itself and is waited for."""
    with subprocess.Popen(command, stderr=stderr) as child:
        while True:
            try:
                return child.wait()
            except KeyboardInterrupt:
                continue


def _must(command: list[str]) -> None:
    if status := _status(command):
        sys.exit(status)


def _become(command: list[str]) -> None:
    """Run it as the last thing. Windows cannot replace a process by another."""
    if sys.platform == "win32":
        sys.exit(_status(command))
    os.execv(command[0], command)


def main(name: str, *options: str) -> None:
    """Run one task, or answer to ``suits`` with the exit status."""
    if name == "suits":
        sys.exit(not suits())
    if not suits():
        sys.exit(f"{VENV} holds a Python that is too old or too new. Delete that folder and start again.")
    os.chdir(ROOT)
    TASKS[name](*options)


if __name__ == "__main__":
    main(*sys.argv[1:])
