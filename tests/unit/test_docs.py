"""The documentation against the code: hooks, settings, links, failures, and every Python example in it."""

from __future__ import annotations

import configparser
import inspect
import os
import re
import runpy
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock, patch

import pytest

from tests.helpers.hook_recorder import Recorder
from zwaif_fallback import settings
from zwaif_fallback.cli import main
from zwaif_fallback.models import catalogue, catalogue_page
from zwaif_hooks import specs
from zwaif_hooks.failover.breaker import HARD
from zwaif_hooks.host.settings_store import Setting, SettingsStore
from zwaif_hooks.host_handle import Host
from zwaif_hooks.messages import AnswerRecord, ChatRequest, FailureKind, Message, ModelInfo, PrimaryFailure
from zwaif_hooks.plugins import PluginManager
from zwaif_hooks.plugins.discovery import TRACE_VARIABLE
from zwaif_hooks.turn_log import TurnRecord

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PARROT = DOCS / "examples" / "zwaif-parrot"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
REQUEST = ChatRequest("oobabooga", (Message("user", "What time is it?"),))
FAILURE = PrimaryFailure(FailureKind.REFUSED, "connection refused by 127.0.0.1:5000")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def hook_specs() -> dict[str, Any]:
    return {name: spec for name, spec in vars(specs).items() if hasattr(spec, f"{specs.PROJECT}_spec")}


def sections(page: str) -> dict[str, str]:
    """Text by ``##`` heading."""
    parts = re.split(r"^## (.+)\n", text_of(page), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# --- hooks -----------------------------------------------------------------------------------------------------------


def test_every_hook_and_its_arguments_have_a_heading_and_nothing_else_has() -> None:
    declared = {f"{name}({', '.join(inspect.signature(spec).parameters)})" for name, spec in hook_specs().items()}
    assert set(sections("docs/hooks.md")) == declared


@pytest.mark.parametrize("name", hook_specs())
def test_a_hook_is_described_as_declared(name: str) -> None:
    section = next(text for heading, text in sections("docs/hooks.md").items() if heading.startswith(f"{name}("))
    for part in ("When", "Arguments", "Result", "Order", "Errors", "Cost"):
        assert f"- **{part}.** " in section
    assert section.count("```python") == 1
    first_wins = bool(getattr(hook_specs()[name], f"{specs.PROJECT}_spec")["firstresult"])
    assert ("**Order.** The first" in section) is first_wins
    assert ("**Order.** All run" in section) is not first_wins


# --- examples --------------------------------------------------------------------------------------------------------


def examples() -> list[tuple[str, str]]:
    found = []
    for page in PAGES:
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        found += [(f"{page.name} {number}", code) for number, code in enumerate(blocks, 1)]
    return found


def module_of(name: str, code: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(code, name, "exec", dont_inherit=True), module.__dict__)
    return module


def host_of(tree: Path, manager: PluginManager) -> Host:
    """With real settings and plugins; whatever else a host has takes every call."""
    parts: dict[str, Any] = {field.name: MagicMock() for field in fields(Host)}
    return Host(**{**parts, "tree": tree, "settings": SettingsStore((), tree / ".env"), "plugins": manager})


def call_every_hook(manager: PluginManager, host: Host) -> None:
    manager.register_settings(host.settings)
    manager.engines()
    manager.hook.zwaif_started(host=host)
    manager.answer(REQUEST, FAILURE)
    manager.format_prompt(REQUEST.messages, ModelInfo("my-own-model"), "Well")
    with patch.dict(sys.modules, {"page.context": MagicMock()}):
        for _, build in manager.builders(MagicMock(__name__="page"), host):
            build()
    record = AnswerRecord(REQUEST, FAILURE, "parrot", "a model", "Hello.", 6.0, 7.0)
    manager.hook.fallback_answered(record=record)
    manager.hook.zwaif_stopping()
    manager.changed(REQUEST)
    manager.someone_will_answer(REQUEST, FAILURE)
    manager.hook.sentence_spoken(text="Nine, and time for tea.", by="primary", request=REQUEST)
    manager.hook.turn_finished(record=TurnRecord(0.0, "127.0.0.1:5000", "oobabooga", "primary", seconds=21.0))
    manager.hook.primary_answered(primary="127.0.0.1:5000", describe=lambda: REQUEST, reply="Nine.")
    manager.hook.primary_late(primary="127.0.0.1:5000", describe=lambda: REQUEST, delivered="")
    manager.hook.primary_failed(primary="127.0.0.1:5000", failure=FAILURE)
    manager.hook.primary_recovered(primary="127.0.0.1:5000", outage_seconds=90.0)


def test_the_list_of_known_plugins_names_every_hook_of_the_examples() -> None:
    rows = re.findall(
        r"\]\(examples/(\S+)\) \|[^|]+\|([^|]+)\|", (DOCS / "known-plugins.md").read_text(encoding="utf-8")
    )
    assert len(rows) == len(list((DOCS / "examples").iterdir()))
    for module, hooks in rows:
        code = (DOCS / "examples" / module).read_text(encoding="utf-8")
        assert re.findall(r"`(\w+)`", hooks) == re.findall(r"^@(?:zw\.)?hookimpl.*\ndef (\w+)", code, re.MULTILINE), (
            module
        )
        assert len(code.splitlines()) < 60


@pytest.mark.parametrize(("name", "code"), examples(), ids=[name for name, _ in examples()])
def test_an_example_registers_and_runs_without_a_complaint(
    name: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZWAIF_BLOCK_PLUGINS", "fallback")
    monkeypatch.syspath_prepend(str(PARROT))
    complaints: list[str] = []
    manager, module = PluginManager(lambda line, error: complaints.append(line)), module_of(name, code)
    settings = [value for value in vars(module).values() if isinstance(value, Setting)]
    if re.search(r"^@(zw\.)?hook", code, re.MULTILINE):  # the other examples are programs
        assert manager.register(module, settings[0].name.partition("_")[0].lower() if settings else name)
    host = host_of(tmp_path, manager)
    call_every_hook(manager, host)
    assert [*complaints, *host.settings.left_out()] == []


def test_the_trace_prints_the_call_of_every_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the manual says of ``ZWAIF_TRACE_PLUGINS``."""
    monkeypatch.chdir(tmp_path)  # the recorder writes there
    lines: list[str] = []
    manager = PluginManager(lambda line, error: lines.append(line), lambda name: "1" if name == TRACE_VARIABLE else "")
    assert manager.register(Recorder(), "recorder")
    call_every_hook(manager, host_of(tmp_path, manager))
    manager.line_while_waiting(REQUEST, FAILURE)
    called = {line.split()[2].rstrip(",") for line in lines if line.startswith("[trace] recorder: ")}
    assert {name for name in hook_specs() if name not in called} == set()


def test_a_misspelt_hook_in_an_example_would_be_noticed() -> None:
    complaints: list[str] = []
    code = "from zwaif_hooks import hookimpl\n@hookimpl\ndef on_primary_failur(request): return None\n"
    PluginManager(lambda line, error: complaints.append(line)).register(module_of("typo", code), "typo")
    assert len(complaints) == 1 and "on_primary_failur" in complaints[0]


def test_the_tutorial_packages_the_parrot_as_the_example_does() -> None:
    page = text_of("docs/plugins.md")
    toml, ini = (re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for kind in ("toml", "ini"))
    assert toml == [(PARROT / "pyproject.toml").read_text(encoding="utf-8")]
    shown, real = configparser.ConfigParser(), configparser.ConfigParser()
    shown.read_string(*ini)
    real.read(PARROT / "setup.cfg", encoding="utf-8")
    for section in shown.sections():
        assert dict(shown[section]).items() <= dict(real[section]).items()


def test_the_first_hooks_of_the_manual_answer_as_they_say() -> None:
    manager = PluginManager(lambda line, error: pytest.fail(line))
    manager.register(module_of("clock", dict(examples())["hooks.md 2"]), "clock")
    manager.register(module_of("waiting", dict(examples())["hooks.md 3"]), "waiting")
    manager.register(module_of("format", dict(examples())["hooks.md 4"]), "format")
    manager.register(module_of("old format", dict(examples())["hooks.md 5"]), "old format")
    found = manager.answer(REQUEST, FAILURE)
    assert found is not None and "".join(found[1].pieces) == "It is late."
    talk = [Message("user", "Hi")]
    new, old = manager.prompt_formats(ModelInfo("my-own-model"))
    assert new.render(talk, "Well") == "<|them|>Hi<|done|>\n<|me|>Well"
    assert new.stops == ("<|done|>", "<|about|>", "<|them|>", "<|me|>")
    assert old.render(talk, "Well") == "<user>Hi</user>\n<assistant>Well"
    assert manager.format_prompt(talk, ModelInfo("another"), "") is None
    assert manager.line_while_waiting(REQUEST, FAILURE) == "Arr, one moment …"


# --- settings, models, failures --------------------------------------------------------------------------------------


def test_the_page_of_settings_is_the_generated_one() -> None:
    assert text_of("docs/settings.md") == settings.as_markdown()


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    known = {setting.name for setting in settings.SETTINGS} | {"API_FALLBACK_API_KEY"}
    for page in PAGES:
        named = set(re.findall(r"\b(?:API_FALLBACK|FALLBACK)_[A-Z_]*[A-Z]\b", page.read_text(encoding="utf-8")))
        assert named <= known, page.name


def test_the_list_of_models_is_the_generated_one() -> None:
    assert text_of("docs/model-list.md") == catalogue_page.as_markdown()


def test_the_page_of_models_is_right_about_them_and_has_those_of_the_first_hour() -> None:
    rows = dict(re.findall(r"^\| `([\w.-]+)` \|(.*)$", text_of("docs/models.md"), re.MULTILINE))
    assert {"tinyllama", "phi-2", "mistral-7b", "neural-chat-7b"} < set(rows)
    for short, row in rows.items():
        offer = catalogue.find(short)
        assert offer is not None, short
        for figure in (f"{offer.parameters:g}B", f"about {offer.memory_gb:g} GB", f"| {offer.download_gb:g} GB |"):
            assert figure in row, short
        assert f"| {offer.quality} | {offer.licence} |" in row


def test_every_kind_of_failure_is_explained_with_what_it_does() -> None:
    rows = re.findall(r"^\| `([a-z ]+)` \|.*\| (at once|if a probe fails too|-) \|$", text_of("docs/failures.md"), re.M)
    expected = {kind.value: "at once" if kind in HARD else "if a probe fails too" for kind in FailureKind}
    expected[FailureKind.OPEN.value] = "-"
    assert dict(rows) == expected


# --- links and commands ----------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, punctuation gone, spaces to hyphens."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        place, _, anchor = link.partition("#")
        target = (page.parent / place).resolve() if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_picture_is_made_by_the_script_and_shown() -> None:
    """The images of the README are the same files, under another path."""
    kept = {path.name for path in (DOCS / "images").iterdir()}
    shown = {Path(link).name for page in PAGES for link in links(page) if "images/" in link}
    assert kept == shown == runpy.run_path(str(ROOT / "scripts" / "pictures.py"))["names"]()


def test_the_readme_fits_on_one_screen_and_leads_to_every_page() -> None:
    assert len(text_of("README.md").splitlines()) <= 60
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(ROOT / "README.md")}
    assert {DOCS / "index.md", ROOT / "CHANGELOG.md"} <= linked
    named = {(DOCS / link.partition("#")[0]).resolve() for link in links(DOCS / "index.md")}
    assert {page for page in PAGES if page.parent == DOCS} - {DOCS / "index.md"} <= named


def test_every_command_a_page_names_exists() -> None:
    (commands,) = (set(action.choices) for action in main.parser()._actions if isinstance(action.choices, dict))
    for page in PAGES:
        if page.name != "cli.md":
            named = re.findall(r"`zwaif-fallback ([a-z-]+)", page.read_text(encoding="utf-8"))
            assert set(named) <= commands, page.name


def test_every_program_a_page_names_exists() -> None:
    for page in PAGES:
        for name in re.findall(r"python -m ((?:benchmarks|tests)[\w.]*\w)", page.read_text(encoding="utf-8")):
            place = ROOT / name.replace(".", "/")
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), f"{page.name}: {name}"


def test_every_test_a_page_names_exists() -> None:
    there = {file.name for file in (ROOT / "tests").rglob("test_*.py")} | {"test_api_fallback.py"}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"\btest_[a-z]\w*\.py\b", text)) <= there, page.name
        assert [path for path in re.findall(r"`(tests/[\w/]+\.py)", text) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize("name", ["demo", "test"])
def test_the_commands_of_the_first_screen_exist(name: str) -> None:
    first_screen = "\n".join(text_of("README.md").splitlines()[:40])
    assert f"./scripts/{name}\n" in first_screen and f"scripts\\{name}.bat" in first_screen
    script = ROOT / "scripts" / name
    assert os.access(script, os.X_OK) and script.with_suffix(".bat").is_file()
