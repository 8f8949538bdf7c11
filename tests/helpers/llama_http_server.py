"""llama.cpp's own server on loopback: ``python llama_http_server.py MODEL.gguf [KEY]``. Ends with its parent's pipe."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main(model: str, key: str = "") -> None:
    # Off the standard handle: while a thread reads from stdin, Windows lets no other one load a C runtime.
    source = os.fdopen(os.dup(0), "rb")
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    from xllamacpp import CommonParams, Server  # type: ignore[import-untyped,import-not-found,unused-ignore]

    params = CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 2048, 1, 0
    params.cpuparams.n_threads = 1
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.warmup, params.cache_ram_mib, params.verbosity = False, 0, 0
    if key:
        params.api_keys = [key]
    server = Server(params)
    print(server.listening_address, flush=True)
    source.read()
    os._exit(0)  # leaving the interpreter while it generates is a crash


if __name__ == "__main__":
    main(*sys.argv[1:])
