"""The benchmark of the GGUF engine stays runnable."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.helpers.llama_program import make_program

pytest.importorskip("xllamacpp")
pytest.importorskip("gguf")


@pytest.mark.slow
def test_it_prints_both_tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from benchmarks.gguf.run import main

    asked = "gguf --size tiny --rounds 1 --reply 8 --tokens 60 --threads 1 --llama-server off"
    monkeypatch.setattr(sys, "argv", asked.split())
    main()
    lines = capsys.readouterr().out.splitlines()
    sides = ("bare binding | 1.000", "llama.cpp's server over HTTP", "engine behind its worker")
    assert all(any(line.startswith(f"| {side}") for line in lines) for side in sides)
    assert any(line.startswith("| 60 | ") and line.endswith("% |") for line in lines)
    assert any("no figures for the card" in line for line in lines)


BENCH = """#!{python}
import json, sys
assert sys.argv[sys.argv.index("-ngl") + 1] == "999" and sys.argv[sys.argv.index("-m") + 1] == {model!r}
print(json.dumps([{{"n_prompt": 0, "n_gen": int(sys.argv[sys.argv.index("-n") + 1]), "avg_ts": 123.45}}]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the program is a script")
def test_the_card_beside_llama_bench(tmp_path: Path, companion_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.gguf.run import on_card

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = make_program(tmp_path)
    alone = on_card(companion_gguf, str(program), 1, 8)
    assert alone[2].startswith("| engine behind its worker, gpu (Vulkan, llama-server 4321 from your settings) | ")
    assert "nothing to compare with" in alone[-1]
    bench = tmp_path / "llama-bench"
    bench.write_text(BENCH.format(python=sys.executable, model=str(companion_gguf)))
    bench.chmod(0o700)
    assert on_card(companion_gguf, str(program), 1, 8)[-1] == "| llama-bench | 123.5 |"
