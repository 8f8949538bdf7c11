"""Z-Waif's Debug tab."""

from __future__ import annotations

import logging
import sys
from typing import Any

from zwaif_hooks.host.tree import find_tree

_logger = logging.getLogger("zwaif")


def add_line(line: str) -> None:
    """Add a line, once Z-Waif's logging module is loaded (``utils.logging`` up to v1.8). Never raises."""
    for name in ("utils.zw_logging", "utils.logging"):
        module: Any = sys.modules.get(name)
        update = getattr(module, "update_debug_log", None)
        if callable(update) and find_tree(getattr(module, "__file__", None) or ""):
            try:
                update(line)
            except Exception as error:  # Z-Waif's own code: losing a line there is no reason to fail here
                _logger.debug("Z-Waif's debug log took no line: %r", error)
            return
