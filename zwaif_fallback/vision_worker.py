"""The process that looks at pictures: ``python -m zwaif_fallback.vision_worker``.

Lines as in ``worker_protocol``. Parent to worker: ``load`` (``folder``, ``model``), ``describe`` (``picture``, base64).
Worker to parent: ``loaded``, ``done`` (``text``) or ``error``.
"""

from __future__ import annotations

import base64
import logging
import os
import signal
import sys
from typing import Any

from zwaif_fallback.engines.vision import VisionEngine
from zwaif_fallback.worker import Worker, take_stdout


class VisionWorker(Worker):
    """One engine that describes pictures, behind the pipe."""

    def __init__(self, output: int) -> None:
        super().__init__(output)
        self._eyes = VisionEngine()

    def _receive(self, message: dict[str, Any]) -> None:
        self._jobs.put(message)

    def _run(self, message: dict[str, Any]) -> None:
        self._guarded({"load": self._load, "describe": self._describe}[message["op"]], message)

    def _load(self, message: dict[str, Any]) -> None:
        self._eyes.load(message["folder"], message["model"])
        self._send(message["id"], "loaded")

    def _describe(self, message: dict[str, Any]) -> None:
        self._send(message["id"], "done", text=self._eyes.describe(base64.b64decode(message["picture"])))


def main() -> None:
    """Serve until the parent closes the pipe."""
    output = take_stdout()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Z-Waif decides what Ctrl+C ends
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    VisionWorker(output).serve(sys.stdin.buffer)


if __name__ == "__main__":
    main()
