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
print(json.dumps([loaded.engine, len(before), later, sorted(sys.modules), gc.isenabled(), gc.get_freeze_count()]))
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


NOT_NEEDED = (
    "torch._dynamo", "torch._inductor", "torch.utils.tensorboard", "torchvision",
    "torchaudio", "sympy", "triton", "sklearn", "scipy", "pandas", "numba", "librosa", "tensorflow", "jax", "flax",
    "keras", "datasets", "onnxruntime", "cv2", "gradio", "matplotlib", "deepspeed", "peft", "bitsandbytes", "xllamacpp",
)  # fmt: skip
"""Large packages that torch, transformers or accelerate import on some occasion; none of them helps with a reply."""


def test_a_load_finds_everything_imported_and_nothing_that_is_not_used() -> None:
    engine, before, later, modules, collects, frozen = prepared(MODEL)
    assert engine == "transformers"
    assert before > 500
    assert [name for name in later if not name.startswith("torch._")] == []
    assert [name for name in NOT_NEEDED if name in modules] == []
    # The two that are not run are there by name, without what they would have imported.
    assert [name for name in modules if name.startswith("torch.distributed.tensor.")] == []
    kinds = {name.split(".")[2] for name in modules if name.startswith("transformers.models.")}
    assert "llama" in kinds and len(kinds) < 10
    assert collects and frozen > 100_000


def test_the_compiler_s_marks_are_there_again_afterwards() -> None:
    torch = pytest.importorskip("torch")
    from zwaif_fallback.engines.transformers_import import import_transformers

    marks, distributed = torch.compiler.disable, torch.distributed.is_available
    import_transformers.__wrapped__()
    assert torch.compiler.disable is marks
    assert torch.distributed.is_available is distributed


NOT_IN_PART = """
import sys, types
sys.path.insert(0, sys.argv[1])
from zwaif_fallback.engines.transformers_import import import_transformers
import_transformers()
from transformers import modeling_utils
print(modeling_utils.whole)
"""


def test_a_version_that_cannot_be_imported_in_part_is_imported_as_a_whole(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    package = tmp_path / "transformers"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "modeling_utils.py").write_text(
        "import torch\nif not torch.distributed.is_available():\n    raise RuntimeError('needs it')\nwhole = True\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-c", NOT_IN_PART, str(tmp_path)],
        env=worker_environment(os.environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert done.stdout.split() == ["True"]
    assert "transformers cannot be imported in part" in done.stderr
