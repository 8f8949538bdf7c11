"""A machine on which all is well, for the tests of ``doctor`` to break one thing of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zwaif_fallback import demo
from zwaif_fallback.choosing.memory_fit import Abilities
from zwaif_fallback.doctor.child_process import HookState, Imported
from zwaif_fallback.doctor.findings import Finding
from zwaif_fallback.doctor.situation import Situation
from zwaif_fallback.hardware import Gpu, Memory
from zwaif_fallback.standin import copy_tree

GB = 10**9
CARD = Gpu("RTX 3060", 12 * GB, 11 * GB)
VERSIONS = {
    "torch": "2.7.1+cu118",
    "transformers": "4.50.3",
    "accelerate": "1.15.0",
    "bitsandbytes": "0.50.2",
    "huggingface_hub": "0.28.1",
    "gradio": "4.36.1",
    "xllamacpp": "2026.10.11549",
}
SEES_CARD = Imported({"cuda": "11.8", "hip": None, "available": True})


def z_waif(folder: Path, **env: str) -> Path:
    """A tree whose ``.env`` names the embedded model, and whose changelog names a release."""
    tree = copy_tree(folder / "z-waif", {"API_FALLBACK_MODEL": str(demo.MODEL), **env})
    (tree / "changelog.txt").write_text("Changelog\n\n\nv1.15\n\n- things\n\nv1.13\n", encoding="utf-8")
    return tree


def situation(tree: Path | None, **changes: Any) -> Situation:
    """``versions`` and ``imports`` change single libraries; everything else is a field of ``Situation``."""
    versions = {**VERSIONS, **changes.pop("versions", {})}
    imports = {"torch": SEES_CARD, **changes.pop("imports", {})}
    environ = changes.pop("environ", {})
    fields: dict[str, Any] = {
        "version_of": versions.get,
        "imported": lambda name: imports.get(name, Imported()),
        "hook": lambda tree, environ: HookState(True, str(tree or ""), ("fallback",)),
        "memory": lambda: Memory(32 * GB, 24 * GB, (CARD,)),
        "abilities": lambda: Abilities(torch_cuda=True, gguf_cuda=True, four_bit=True),
        "find_llama_server": lambda wish, say: None,
        "free_bytes": lambda place: 100 * GB,
        **changes,
    }
    return Situation(tree, environ, **fields)


def assert_useful(finding: Finding) -> None:
    """Whoever reads it knows what it means and what to do."""
    assert finding.found
    if finding.state in ("warning", "problem"):
        assert finding.meaning.endswith(".") and finding.remedy
