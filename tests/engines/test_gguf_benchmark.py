"""The benchmark of the GGUF engine stays runnable."""

from __future__ import annotations

import sys

import pytest

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")


@pytest.mark.slow
def test_it_prints_both_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.gguf.run import main

    monkeypatch.setattr(
        sys, "argv", ["gguf", "--size", "tiny", "--rounds", "1", "--reply", "8", "--tokens", "60", "--threads", "1"]
    )
    main()
    lines = capsys.readouterr().out.splitlines()
    sides = ("bare binding | 1.000", "llama.cpp's server over HTTP", "engine behind its worker")
    assert all(any(line.startswith(f"| {side}") for line in lines) for side in sides)
    assert any(line.startswith("| 60 | ") and line.endswith("% |") for line in lines)
