"""What is imported beforehand, and what is not imported at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from zwaif_fallback.demo import MODEL
from zwaif_fallback.workers.worker_process import worker_environment

PREPARED = """
import gc, json, sys
from zwaif_fallback.engine_types import Generation, LoadOptions
from zwaif_fallback.engines.transformers_import import uncollected
from zwaif_fallback.engines.factory import make_engine

def heavy():
    return {name for name in sys.modules if name.partition(".")[0] in ("torch", "transformers", "accelerate")}

options = LoadOptions(sys.argv[1], device="cpu")
engine = make_engine(options)
with uncollected():
    engine.prepare(options)
before = heavy()
loaded = engine.load(options)
list(engine.generate(Generation("Hello", max_tokens=2)))
later = sorted(heavy() - before)
compiler = "torch._dynamo" in sys.modules
print(json.dumps([loaded.engine, len(before), later, compiler, gc.isenabled(), gc.get_freeze_count()]))
"""


def prepared(model: Path) -> Any:
    pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, "-c", PREPARED, str(model)],
        env=worker_environment(os.environ),
        stdout=subprocess.PIPE,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_a_load_finds_everything_imported_and_no_compiler() -> None:
    engine, before, later, compiler, collects, frozen = prepared(MODEL)
    assert engine == "transformers"
    assert before > 1000
    assert [name for name in later if not name.startswith("torch._")] == []
    assert not compiler
    assert collects and frozen > 100_000


def test_the_compiler_s_marks_are_there_again_afterwards() -> None:
    torch = pytest.importorskip("torch")
    from zwaif_fallback.engines.transformers_import import transformers_without_compiler

    marks = torch.compiler.disable
    transformers_without_compiler()
    assert torch.compiler.disable is marks
