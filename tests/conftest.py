"""For every test: nothing that one test said to the user changes how the next one's lines look."""

from __future__ import annotations

import pytest

from zwaif_hooks.host import log


@pytest.fixture(autouse=True)
def fresh_console(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_reply_on_line", False)
