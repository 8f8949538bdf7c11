"""The worker process that describes pictures: ``python -m zwaif_fallback.pictures.vision_worker``."""

from __future__ import annotations

import base64
import os

from zwaif_fallback.pictures.vision_engine import VisionEngine
from zwaif_fallback.workers.pipe_server import PipeServer, Request


class VisionWorker:
    """Runs one captioning model."""

    def __init__(self) -> None:
        self._engine = VisionEngine()

    def serve(self) -> None:
        PipeServer({"open": self._open, "describe": self._describe}).serve()

    def _open(self, request: Request) -> None:
        self._engine.load(request.fields["folder"], request.fields["model"])
        request.reply("opened")

    def _describe(self, request: Request) -> None:
        request.reply("described", text=self._engine.describe(base64.b64decode(request.fields["picture"])))


def main() -> None:
    """Serve until the parent is gone."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    VisionWorker().serve()


if __name__ == "__main__":
    main()
