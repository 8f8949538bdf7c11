"""For every test: what one said to the user changes no line of the next, and the user's own files stay as they are."""

from __future__ import annotations

import os

import platformdirs
import pytest

from zwaif_fallback import llama_servers
from zwaif_hooks import log

os.environ.setdefault("OMP_NUM_THREADS", "1")
"""For PyTorch, here and in workers. Tiny models gain nothing from more threads, and on busy cores these wait for each
other at every step: a test that needs 3 s took 85."""


@pytest.fixture(autouse=True)
def fresh_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_within_line", False)


@pytest.fixture(autouse=True)
def own_log(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.getbasetemp() / "logs"
    folder.mkdir(exist_ok=True)
    (folder / log.LOG_FILE).unlink(missing_ok=True)
    monkeypatch.setattr(platformdirs, "user_log_dir", lambda *_, **__: str(folder))


@pytest.fixture(autouse=True)
def no_llama_server_known(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    memo = tmp_path_factory.getbasetemp() / "llama-server.json"
    memo.unlink(missing_ok=True)
    monkeypatch.setattr(llama_servers, "_memo", lambda: memo)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Children import what the test is about, not what measuring their coverage takes."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)
