"""Real settings in a temporary ``.env``, and a service under the test's control."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.ui.scripted import ENV, ScriptedService
from zwaif_fallback.settings import SETTINGS
from zwaif_hooks.host.settings import SettingsStore


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(ENV, encoding="utf-8")
    return path


@pytest.fixture
def host(env_file: Path) -> Any:
    return SimpleNamespace(
        tree=env_file.parent, settings=SettingsStore(SETTINGS, env_file, environ={}, say=lambda line: None)
    )


@pytest.fixture
def service() -> ScriptedService:
    return ScriptedService()
