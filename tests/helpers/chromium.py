"""The Chromium of this machine (``ZWAIF_TEST_CHROMIUM`` names another one); no browser is downloaded."""

from __future__ import annotations

import os
import shutil
from typing import Any

CHROMIUM = os.environ.get("ZWAIF_TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]


def loopback_only(route: Any) -> None:
    """Cut off everything but the loopback address."""
    route.continue_() if "127.0.0.1" in route.request.url else route.abort()
