"""Starts Python again with its own arguments and waits: as ``python.exe`` does in a virtual environment on Windows."""

from __future__ import annotations

import subprocess
import sys

if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, *sys.argv[1:]], close_fds=False))
