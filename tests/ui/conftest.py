"""Real settings in a temporary ``.env``, and a service, models and a download under the test's control."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.chromium import CHROMIUM, SWITCHES
from tests.helpers.scripted_service import ENV, ScriptedDownload, ScriptedService, found
from zwaif_fallback.answering.outages import Outages
from zwaif_fallback.choosing.memory_fit import Abilities
from zwaif_fallback.hardware import Memory
from zwaif_fallback.models.search import Findings, FoundModel
from zwaif_fallback.settings import SETTINGS
from zwaif_fallback.ui.model_list import ModelList
from zwaif_hooks.failover.registry import PrimaryRegistry
from zwaif_hooks.host.settings_store import SettingsStore
from zwaif_hooks.turn_log import TurnLog


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api: Any = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / "z-waif" / ".env"
    path.parent.mkdir()
    path.write_text(ENV, encoding="utf-8")
    return path


@pytest.fixture
def host(env_file: Path) -> Any:
    return SimpleNamespace(
        tree=env_file.parent,
        settings=SettingsStore(SETTINGS, env_file, environ={}, say=lambda line: None),
        primaries=PrimaryRegistry(lambda *_: None),
        records=TurnLog(),
    )


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()


@pytest.fixture
def download() -> ScriptedDownload:
    return ScriptedDownload()


@pytest.fixture
def outages() -> Outages:
    return Outages()


@pytest.fixture
def models(tmp_path: Path) -> list[FoundModel]:
    """What is found: a GGUF file of Ollama's, outside every model folder."""
    return [found(tmp_path / "ollama" / "blobs")]


@pytest.fixture
def model_list(host: Any, models: list[FoundModel]) -> ModelList:
    """On a machine with 8 GB free."""
    findings = Findings(models)
    memory = Memory(16_000_000_000, 8_000_000_000)
    return ModelList(host.settings, host.tree, lambda *_: findings, lambda: memory, lambda: Abilities(gguf=True))
