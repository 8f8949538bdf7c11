"""One table of settings, five places that show it: ``.env``, ``utils.settings``, the Settings tab, the command line and
the manual. Whatever one of them says must be what the table says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from zwaif_fallback.cli import main
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.standin import copy_tree
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.host import env_file
from zwaif_hooks.host.settings_store import Setting, SettingsStore, Value
from zwaif_hooks.turn_log import TurnLog

MANUAL = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    return copy_tree(tmp_path / "z-waif", {})


def another(setting: Setting) -> Value:
    """A value that is not the default."""
    if isinstance(setting.default, bool):
        return not setting.default
    if setting.choices:
        return next(choice for choice in setting.choices if choice != setting.default)
    if setting.pattern:
        return "cpu"
    if isinstance(setting.default, str):
        return "127.0.0.1:5001" if setting.name == "API_FALLBACK_HOST" else "owner/another"
    wanted = setting.default + 1
    return wanted if setting.maximum is None or wanted <= setting.maximum else setting.default - 1


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_env_and_live_names(setting: Setting, tree: Path) -> None:
    store = SettingsStore(SETTINGS, tree / ".env", {}, say=pytest.fail)
    module = ModuleType("utils.settings")
    store.bind(module)
    assert getattr(module, setting.name) == setting.default
    value = another(setting)
    store.set(setting.name, value)
    assert env_file.read(tree / ".env")[setting.name] == setting.text(value)
    assert getattr(module, setting.name) == value
    assert not setting.live_name or getattr(module, setting.live_name) == value
    assert SettingsStore(SETTINGS, tree / ".env", {}, say=pytest.fail).get(setting.name) == value


def test_nothing_else_is_published() -> None:
    module = ModuleType("utils.settings")
    SettingsStore(SETTINGS, None, {}).bind(module)
    names = {setting.name for setting in SETTINGS} | {setting.live_name for setting in SETTINGS}
    assert {name for name in vars(module) if not name.startswith("__")} == names - {""}


def test_the_command_line(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for setting in SETTINGS:
        if setting.name != "API_FALLBACK_MODEL":  # it must be a model, which has a test of its own
            assert (
                main.main(["settings", "set", setting.name, setting.text(another(setting)), "--zwaif", str(tree)]) == 0
            )
    capsys.readouterr()
    assert main.main(["settings", "show", "--json", "--zwaif", str(tree)]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == [setting.name for setting in SETTINGS]
    for row, setting in zip(rows, SETTINGS, strict=True):
        assert row["default"] == setting.default
        changed = setting.name != "API_FALLBACK_MODEL"
        assert row["value"] == (another(setting) if changed else setting.default)
        assert row["source"] == (".env" if changed else "default")


def test_the_manual() -> None:
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| (.+?) \| (.+?) \| (.+) \|$", MANUAL.read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [name for name, *_ in rows] == [setting.name for setting in SETTINGS]
    for (_, default, expected, help), setting in zip(rows, SETTINGS, strict=True):
        assert (expected, help) == (setting.expected(), setting.help)
        assert setting.parse("" if default == "empty" else default.strip("`")) == setting.default


def test_the_settings_tab(tree: Path) -> None:
    """Built with the real Gradio; every component that carries a setting's name carries its value and its limits."""
    gradio: Any = pytest.importorskip("gradio", reason="gradio is not installed here")
    from tests.helpers.scripted_service import ScriptedService
    from zwaif_fallback.ui import section
    from zwaif_fallback.ui.components import title
    from zwaif_fallback.ui.setting_edits import MODEL

    store = SettingsStore(SETTINGS, tree / ".env", {}, say=pytest.fail)
    for setting in SETTINGS:
        store.set(setting.name, another(setting))
    host: Any = SimpleNamespace(
        tree=tree, settings=store, primaries=PrimaryRegistry(lambda *_: None), records=TurnLog()
    )
    with gradio.Blocks(analytics_enabled=False) as page:
        section.build(gradio, host, ScriptedService())
    labelled = {getattr(block, "label", None): block for block in page.blocks.values()}
    shown = {setting: labelled[title(setting)] for setting in SETTINGS if title(setting) in labelled}
    assert {setting.name for setting in SETTINGS if setting.on_page} <= {setting.name for setting in shown}
    for setting, block in shown.items():
        if setting.name != MODEL:  # comes with its list, when the page is loaded
            assert setting.text(block.value) == setting.text(another(setting)), setting.name
        if setting.choices:
            assert [choice[0] for choice in block.choices] == list(setting.choices)
        if getattr(block, "minimum", None) is not None and setting.minimum is not None:
            assert block.minimum == setting.minimum and block.maximum <= (setting.maximum or block.maximum)
