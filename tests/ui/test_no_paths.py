"""The page shows no absolute path: whoever opens it need not know how this computer's disks are laid out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.scripted_service import ScriptedDownload, ScriptedService
from zwaif_fallback.errors import EngineError, ModelNotFound
from zwaif_fallback.ui.components import without_folders
from zwaif_fallback.ui.model_list import ModelList
from zwaif_fallback.ui.panel import Panel
from zwaif_hooks.host import env_file
from zwaif_hooks.messages import FailureKind, PrimaryFailure

PLACE = "/srv/private/z-waif/.env"


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"{PLACE} is read-only.", "…/.env is read-only."),
        (f"It failed. (Details: {PLACE})", "It failed. (Details: …/.env)"),
        ("There is no model at '/srv/m/a.gguf'.", "There is no model at '…/a.gguf'."),
        (r"C:\Users\eve\m.gguf, D:/models/x/y", "…/m.gguf, …/y"),
        (r"\\server\share\m.gguf is gone", "…/m.gguf is gone"),
        ("http://127.0.0.1:5000/v1/models and https://huggingface.co/a/b", None),
        ("owner/name:file.gguf, 3 and/or 4, 1/2/3, 31 tokens/s", None),
    ],
)
def test_folders_go_and_all_else_stays(said: str, shown: str | None) -> None:
    assert without_folders(said) == (said if shown is None else shown)


@pytest.mark.parametrize("home", ["/home/Mary Ann", r"C:\Users\Mary Ann"])
def test_a_home_with_a_space_in_its_name(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: home)
    separator = "\\" if "\\" in home else "/"
    assert without_folders(f"{home}{separator}z-waif{separator}.env is gone") == "…/.env is gone"


@pytest.fixture
def panel(host: Any, service: ScriptedService, model_list: ModelList, download: ScriptedDownload) -> Panel:
    return Panel(host, service, model_list=model_list, download=download)


def test_whatever_fails_below_the_page_names_no_folder(
    panel: Panel, host: Any, service: ScriptedService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise env_file.EnvFileError(f"{PLACE} is read-only.")

    def resolved(name: str) -> str:
        raise ModelNotFound(f"There is no model at {PLACE}.")

    monkeypatch.setattr(env_file, "write", fail)
    service.news = [f"It could not be loaded. (Details: {PLACE})"]
    service.pieces = [EngineError(f"{PLACE} is damaged.")]
    primary = host.primaries.get("127.0.0.1:5000")
    primary.failed(PrimaryFailure(FailureKind.HTTP_ERROR, f"it answered 500: no such file {PLACE}"))
    monkeypatch.setattr(panel.model_list, "resolve", resolved)
    shown = {
        "switch": panel.toggle(),
        "host": panel.fallback_host.change("127.0.0.1:8080"),
        "advanced": panel.advanced.change("API_FALLBACK_THREADS", 3),
        "undo": panel.undo(),
        "opened": panel.page_loaded(),
        "model": panel.models.load("owner/name"),
        "info": panel.models.info("owner/name"),
        "state": panel.models.state(),
        "test": list(panel.test_reply.stream("hi")),
        "live": panel.live.html(),
    }
    for control, texts in shown.items():
        assert "/srv" not in str(texts), control
        assert control in ("opened", "live") or "…/.env" in str(texts), control
