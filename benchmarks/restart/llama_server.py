"""llama.cpp's own server on loopback: ``python llama_server.py MODEL.gguf PORT``. Runs until it is killed."""

from __future__ import annotations

import sys
import threading


def main(model: str, port: str) -> None:
    from xllamacpp import CommonParams, Server  # type: ignore[import-untyped,import-not-found,unused-ignore]

    params = CommonParams()
    params.model.path = model
    params.n_ctx, params.n_parallel, params.n_gpu_layers = 2048, 1, 0
    params.cpuparams.n_threads = 1
    params.hostnames, params.port = ["127.0.0.1"], int(port)
    params.warmup, params.cache_ram_mib, params.verbosity = False, 0, 0
    server = Server(params)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
