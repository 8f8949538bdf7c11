"""The process that looks at pictures: ``python -m zwaif_fallback.pictures.vision_worker``.

Lines as in ``worker_protocol``: ``open`` is answered with ``opened``, ``describe`` (a ``picture`` in base64) with
``described``.
"""

from __future__ import annotations

import base64
from typing import Any

from zwaif_fallback.local.model_worker import Worker, run
from zwaif_fallback.pictures.vision_engine import VisionEngine


class VisionWorker(Worker):
    """One engine that describes pictures, behind the pipe."""

    def __init__(self, output: int) -> None:
        super().__init__(output)
        self._eyes = VisionEngine()

    def _receive(self, message: dict[str, Any]) -> None:
        self._jobs.put(message)

    def _run(self, message: dict[str, Any]) -> None:
        self._guarded(self._open if message["op"] == "open" else self._describe, message)

    def _open(self, message: dict[str, Any]) -> None:
        self._eyes.load(message["folder"], message["model"])
        self._send(message["id"], "opened")

    def _describe(self, message: dict[str, Any]) -> None:
        self._send(message["id"], "described", text=self._eyes.describe(base64.b64decode(message["picture"])))


def main() -> None:
    """The worker for pictures."""
    run(VisionWorker)


if __name__ == "__main__":
    main()
