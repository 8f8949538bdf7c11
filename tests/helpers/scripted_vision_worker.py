"""A scripted process that describes pictures, in place of ``zwaif_fallback.pictures.vision_worker``.

The folder's name says how loading goes, the picture's bytes say what comes of it.
"""

from __future__ import annotations

import os
import threading
import time

from zwaif_fallback.errors import ModelError
from zwaif_fallback.pictures import vision_worker


class Engine:
    def load(self, folder: str, name: str) -> None:
        if "slow" in folder:
            time.sleep(1.5)
        if "broken" in folder:
            raise ModelError(f"{name} is broken. Choose another.")

    def describe(self, data: bytes) -> str:
        if data == b"hang":
            threading.Event().wait()
        if data == b"crash":
            os._exit(7)
        return data.decode() * (data != b"nothing")


if __name__ == "__main__":
    vision_worker.VisionEngine = Engine  # type: ignore[misc, assignment]
    vision_worker.main()
