"""llama.cpp's own server on loopback: ``python llama_server.py MODEL.gguf PORT``. Ends with its parent's pipe.

With a third argument, ``detached``, nobody holds a pipe, and it runs until it is killed.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path


def main(model: str, port: str, detached: str = "") -> None:
    # Off the standard handle: while a thread reads from stdin, Windows lets no other one load a C runtime.
    source = os.fdopen(os.dup(0), "rb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    from xllamacpp import CommonParams, Server  # type: ignore[import-untyped,import-not-found,unused-ignore]

    params = CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 2048, 1, 0
    params.cpuparams.n_threads = 1
    params.hostnames, params.port = ["127.0.0.1"], int(port)
    params.warmup, params.cache_ram_mib, params.verbosity = False, 0, 0
    params.cache_prompt = False  # with one slot and no cache, the same question has the same reply to the last bit
    server = Server(params)
    print(server.listening_address, flush=True)
    if detached:
        threading.Event().wait()
    source.read()
    os._exit(0)  # leaving the interpreter while it generates is a crash


if __name__ == "__main__":
    main(*sys.argv[1:])
